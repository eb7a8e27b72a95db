"""Who acts and from where, at the moment of a write.

Never an error, and never a guess.

The application is asked in its own session, right before the session writes (:meth:`Attribution.asked` and
:meth:`Attribution.ask_before_flush`). Everywhere else, as on a connection of the engine, only what is known without the
database is recorded.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from flask import current_app, g, has_app_context, has_request_context, request
from flask import session as cookie
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from werkzeug.local import LocalProxy

from .actors import Actor, display_name, identify, is_expired, itself, loaded_object, remembered_name
from .blocks import Frame, current_frame
from .questions import Question, current_question, set_question
from .request import (
    Answers,
    Known,
    Redact,
    attributes_behind,
    command_facts,
    default_client_addr,
    redacted,
    request_facts,
    split_address,
)
from .stamp import Stamp, make_stamp, stamp_now

try:
    from flask_login import current_user
except ImportError:  # Flask-Login is optional
    current_user = None

logger = logging.getLogger("flask_audit_logger")

_KNOWN_KEY = "_flask_audit_logger_known"
_ASKED_KEY = "_flask_audit_logger_asked"


@dataclass(frozen=True)
class _Scope:
    """Answers that hold for one flush, or for one statement of a session."""

    answers: Answers
    flush: weakref.ref[Any] | None = None

    @property
    def holds(self) -> bool:
        return self.flush is None or self.flush() is not None


_scope: ContextVar[_Scope | None] = ContextVar("flask_audit_logger_scope", default=None)


class Attribution:
    """Says what a write of this moment is stamped with.

    :param owner: whose ``context()`` counts.
    :param get_actor_cls: gives the actor class, if there is one.
    :param get_session: gives the session that the application uses at this moment, if it has one.
    :param get_actor_id: the application's callback, returning a key, an object or ``None``.
    :param get_actor_label: the application's callback for the name of that actor.
    :param get_client_addr: the application's callback for the address of the client.
    :param redact: the application's hook that takes out what must not be recorded of a request.
    """

    def __init__(
        self,
        owner: object,
        get_actor_cls: Callable[[], type[Any] | None],
        get_session: Callable[[], Session | None],
        get_actor_id: Callable[[], Any] | None = None,
        get_actor_label: Callable[[], Any] | None = None,
        get_client_addr: Callable[[], Any] | None = None,
        redact: Redact | None = None,
    ) -> None:
        self.owner = owner
        self._get_actor_cls = get_actor_cls
        self._get_session = get_session
        self._get_actor_id = get_actor_id
        self._get_actor_label = get_actor_label
        self._get_client_addr = get_client_addr
        self._redact = redact
        self._failed: set[tuple[str, type[Exception]]] = set()
        #: Whether the application answers by callbacks, which are asked anew before each write.
        self.has_callbacks = any((get_actor_id, get_actor_label, get_client_addr))

    def __call__(self, driver: Any) -> Stamp:
        """What a statement that is sent now is stamped with.

        :param driver: the connection of the driver on which it is sent.
        """
        try:
            return self._stamp(driver)
        except Exception:
            # Nobody, rather than whoever the transaction was told before.
            logger.warning("can't tell who acts; it is recorded as unknown", exc_info=True)
            return make_stamp(Actor(), None, {}, is_captured=True)

    def stamping_as(self, who: Any) -> Callable[[Any], None]:
        """What stamps a connection as somebody, with what is known of the request now, whoever else acts in it."""
        frame = replace(current_frame(self.owner), actor=identify(who))
        stamp = self._made(frame, self._answers(frame, None), is_captured=True)
        return lambda connection: stamp_now(connection, lambda driver: stamp)

    def _stamp(self, driver: Any) -> Stamp:
        frame = current_frame(self.owner)
        is_captured = frame.captures(driver)
        if current_question() is not None:
            # The answer itself writes. Who that is, is not known yet.
            return make_stamp(Actor(), None, self._said(frame), is_captured=is_captured)
        scope = _scope.get()
        if scope is not None and not scope.holds:
            # Of a flush that never began: a listener of the application stopped it.
            _scope.set(scope := None)
        kept = self._known().kept(frame, scope)
        if is_captured in kept.stamps:
            return kept.stamps[is_captured]
        answers = scope.answers if scope is not None else kept.answers or self._answers(frame, None)
        stamp = self._made(frame, answers, is_captured)
        stays = (scope is not None or not self.has_callbacks) and _is_complete(answers.actor)
        if stays and self._known().kept(frame, scope) is kept:
            kept.stamps[is_captured] = stamp
        return stamp

    def _made(self, frame: Frame, answers: Answers, is_captured: bool) -> Stamp:
        facts = {**self._facts(), **self._said(frame)}
        actor = answers.actor
        if actor is None:
            facts |= _session_user()
            actor = Actor()
        elif not self._is_known(actor):
            facts["actor"] = _key_elsewhere(actor)
            actor = Actor(label=actor.label)
        address, other_address = split_address(answers.address)
        if other_address:
            facts.setdefault("client_addr", other_address)
        return make_stamp(actor, address, facts, is_captured=is_captured)

    def _facts(self) -> Mapping[str, Any]:
        if not has_request_context():
            return command_facts()
        known = self._known()
        if known.facts is None:
            redact, facts = self._redact, _guarded(request_facts) or {}
            if redact is not None:
                facts = self._ask(lambda: redacted(redact, facts)) or {}
            known.facts = facts
        return known.facts

    def _known(self) -> Known:
        """What is known of the running request: of this one only, as applications of a cascade share an environ."""
        if has_request_context():
            around = attributes_behind(request)
        elif has_app_context():
            around = attributes_behind(g)
        else:
            return Known()
        kept: dict[Attribution, Known] | None = around.get(_KNOWN_KEY)
        if kept is None:
            kept = around[_KNOWN_KEY] = {}
        known = kept.get(self)
        if known is None:
            known = kept[self] = Known()
        return known

    # Asking before a session writes

    def has_asked(self) -> bool:
        """Whether a session has nothing to ask: it is asked already, or what is stamped now was stamped before."""
        if self.has_callbacks:
            return self._is_asked_already()
        return bool(self._known().kept(current_frame(self.owner), None).stamps) or self._is_asked_already()

    def _ask_and_keep(self, frame: Frame, session: Session) -> Answers:
        """Ask, and keep the answers of those who are not asked anew each time."""
        kept = self._known().kept(frame, None)
        answers = self._answers(frame, session)
        if not self.has_callbacks and answers.actor is not None and self._known().kept(frame, None) is kept:
            kept.answers = answers
        return answers

    def ask_before_flush(self, session: Session, flush_context: Any) -> None:
        """Ask who acts before a flush; what the callbacks answer holds until it ends."""
        answers = self._ask_and_keep(current_frame(self.owner), session)
        if self.has_callbacks:
            _scope.set(_Scope(answers, weakref.ref(flush_context)))

    @staticmethod
    def end_flush() -> None:
        """The answers of a flush hold no longer."""
        scope = _scope.get()
        if scope is not None and scope.flush is not None:
            _scope.set(None)

    @contextmanager
    def asked(self, session: Session) -> Iterator[None]:
        """Ask who acts before a statement of a session; what the callbacks answer holds inside the block."""
        if self._is_asked_already():
            yield
            return
        token = _scope.set(_Scope(self._answers(current_frame(self.owner), session)))
        try:
            yield
        finally:
            _scope.reset(token)

    def ask(self, session: Session) -> None:
        """Have the current user loaded before a statement of a session."""
        self._ask_and_keep(current_frame(self.owner), session)

    @staticmethod
    def _is_asked_already() -> bool:
        scope = _scope.get()
        return current_question() is not None or (scope is not None and scope.holds)

    # The answers

    def _answers(self, frame: Frame, session: Session | None) -> Answers:
        if self._get_client_addr is not None:
            address = self._ask(self._get_client_addr, session)
        else:
            address = _guarded(default_client_addr)
        return Answers(self._named(frame.actor, session) if frame.has_actor else self._actor(session), address)

    def _named(self, actor: Actor, session: Session | None) -> Actor:
        """An actor whom the code gave, with the name: what had expired when it was given is loaded by a session."""
        if actor.label is not None:
            return actor
        if actor.who is None:
            return self._with_name_of_loaded(actor, session)
        label = remembered_name(actor.who)
        if label is None and session is not None and is_expired(actor.who):
            label = self._ask(lambda: display_name(actor.who), session)
        return actor if label is None else replace(actor, label=label)

    def _actor(self, session: Session | None) -> Actor | None:
        if self._get_actor_id is None:
            actor = self._logged_in(session)
        else:
            actor = self._ask(self._told_actor, session, asked=self._get_actor_id)
            if actor is not None and actor.id is not None and actor.label is None:
                actor = self._with_name_of_current_user(actor, session)
            if actor is not None and actor.label is None:
                actor = self._with_name_of_loaded(actor, session)
        if self._get_actor_label is None or actor is None or actor.id is None:
            return actor
        return replace(actor, label=self._told_label(actor, session) or actor.label)

    def _told_actor(self) -> Actor:
        told = itself(self._get_actor_id())  # type: ignore[misc]  # asked only if there is one
        actor = identify(told)
        if actor.label is None and is_expired(told) and _may_load():
            return replace(actor, label=display_name(told))
        return actor

    def _with_name_of_current_user(self, actor: Actor, session: Session | None) -> Actor:
        if _has_login() and "_login_user" not in g and _user_of_cookie() != actor.id:
            return actor  # somebody else, who is not loaded for that
        known = self._logged_in(session) or Actor()
        is_same = known.model is actor.model or (actor.model is None and self._is_known(known))
        return known if is_same and known.id == actor.id else actor

    def _with_name_of_loaded(self, actor: Actor, session: Session | None) -> Actor:
        """The name of a key alone, as from a token, if the session has loaded whose it is."""
        model = actor.model or _guarded(self._get_actor_cls)
        within = session or _guarded(self._get_session)
        found = _guarded(lambda: loaded_object(within, model, actor.id)) if within is not None and model else None
        if found is None:
            return actor
        if is_expired(found):
            return replace(actor, label=remembered_name(found))
        return replace(actor, label=self._ask(lambda: display_name(found), session))

    def _told_label(self, actor: Actor, session: Session | None) -> str | None:
        """What the callback calls the actor."""
        labels = self._known().labels if has_request_context() else {}
        label = self._ask(self._get_actor_label, session)  # type: ignore[arg-type]  # asked only if there is one
        if label is not None:
            labels[replace(actor, label=None)] = str(label)
        return labels.get(replace(actor, label=None))

    def _logged_in(self, session: Session | None) -> Actor | None:
        """The actor whom Flask-Login knows, loaded only if there is a session for it; ``None`` if it is not known."""
        if not _has_login():
            return Actor()
        if "_login_user" not in g and (session is None or not self._load_current_user(session)):
            return None
        user = g._login_user
        bare = _guarded(lambda: identify(user, with_label=False))
        if bare is None or bare.id is None:
            return _guarded(lambda: identify(user))  # type: ignore[no-any-return]
        seen = self._known().actors
        known = seen.get(bare)
        if known is not None:
            return known
        may_ask = session is not None or not is_expired(user)
        found = self._ask(lambda: (_is_somebody(user), display_name(user)), session) if may_ask else None
        is_somebody, label = found or (self._ask(lambda: _is_somebody(user), session), None)
        if is_somebody is None:
            return None
        if not is_somebody:
            known = seen[bare] = Actor()
        elif label is not None:
            known = seen[bare] = Actor(bare.id, label, bare.model)
        else:
            known = replace(bare, label=_guarded(lambda: remembered_name(user)))
        return known

    def _load_current_user(self, session: Session) -> bool:
        """Let Flask-Login load the user as the application would; it keeps whom it loaded. Once in a context."""
        asked: set[Any] = g.setdefault(_ASKED_KEY, set())
        logged_in = _user_of_cookie()
        if logged_in in asked:
            return False
        asked.add(logged_in)
        self._ask(current_user._get_current_object, session)
        return "_login_user" in g

    def _ask(self, callback: Callable[[], Any], session: Session | None = None, *, asked: object = None) -> Any:
        """Call what the application gave; ``None`` if it fails or, without a session, if it needs the database.

        :param asked: what the application gave, if the callback is more than that.
        """
        question = Question(session)
        token = set_question(question)
        try:
            with self._undisturbed(question):
                if session is None and _has_login() and "_login_user" not in g:
                    with _stand_in_user(question):
                        answer = callback()
                else:
                    answer = callback()
            question.keep()
            return None if question.was_refused else answer
        except Exception as error:
            _guarded(question.undo)
            if session is not None and _is_broken(session, error):
                raise
            if question.was_refused:
                logger.debug("%r needs the database, which is not asked here", callback)
            elif has_app_context():
                self._warn(asked or callback, error)
            return None
        finally:
            token.var.reset(token)

    def _warn(self, asked: object, error: Exception) -> None:
        """Name what failed; where, only the first time: it may fail at each write."""
        name = f"{getattr(asked, '__module__', '')}.{getattr(asked, '__qualname__', repr(asked))}".lstrip(".")
        is_new = (name, type(error)) not in self._failed
        self._failed.add((name, type(error)))
        said = f"{type(error).__name__}: {error}"
        logger.warning("%s failed (%s); what it tells is recorded as unknown", name, said, exc_info=is_new)

    @contextmanager
    def _undisturbed(self, question: Question) -> Iterator[None]:
        """Keep the session as it is: what the application wants to write now goes with the write that is under way."""
        session = question.session
        if session is None:
            session = _guarded(self._get_session)
        if session is None:
            yield
            return
        own = vars(session)
        before = {name: own[name] for name in _REPLACED if name in own}
        autoflush = session.autoflush
        own.update(commit=_do_nothing, flush=_do_nothing, rollback=question.undo, close=question.refuse)
        session.autoflush = False
        try:
            yield
        finally:
            session.autoflush = autoflush
            for name in _REPLACED:
                del own[name]
            own.update(before)

    # What else is recorded

    def _is_known(self, actor: Actor) -> bool:
        """Whether the key is one of the actor class, so that it names nobody else."""
        return actor.model is None or actor.is_among(_guarded(self._get_actor_cls))

    def _said(self, frame: Frame) -> dict[str, Any]:
        if frame.impersonator is None:
            return dict(frame.facts)
        behind = self._named(frame.impersonator, None)
        key = {"id": behind.id} if self._is_known(behind) else _key_elsewhere(behind)
        return {**frame.facts, "impersonator": {"label": behind.label, **key}}


#: Methods of a session that are others while the application is asked.
_REPLACED = ("commit", "flush", "rollback", "close")


def _do_nothing(*args: Any, **kw: Any) -> None:
    pass


def _is_complete(actor: Actor | None) -> bool:
    """Whether an answer stays as it is: a name may be loaded yet."""
    return actor is not None and (actor.label is not None or (actor.model is None and actor.who is None))


def _is_somebody(user: Any) -> bool:
    return bool(getattr(user, "is_authenticated", True))


def _key_elsewhere(actor: Actor) -> dict[str, str | None]:
    return {"class": actor.model.__name__ if actor.model is not None else None, "key": actor.id}


def _user_of_cookie() -> Any:
    """The id in the signed session. To look at it for the log doesn't make the response vary by it."""
    stored = cookie._get_current_object()  # type: ignore[attr-defined]  # a proxy
    was_accessed = getattr(stored, "accessed", True)
    try:
        return stored.get("_user_id")
    finally:
        if not was_accessed:
            stored.accessed = False


def _session_user() -> dict[str, str]:
    """Whom the signed session of Flask-Login names, where the user itself is not known."""
    named = _user_of_cookie() if _has_login() else None
    return {} if named is None else {"session_user": str(named)}


def _has_login() -> bool:
    return current_user is not None and has_request_context() and hasattr(current_app, "login_manager")


def _may_load() -> bool:
    question = current_question()
    return question is not None and question.session is not None


def _guarded(callback: Callable[[], Any]) -> Any:
    try:
        return callback()
    except Exception:
        logger.debug("%r failed", callback, exc_info=True)
        return None


def _is_broken(session: Session, error: Exception) -> bool:
    """Whether the connection of the session is lost: then the write raises what it would have found out itself."""
    if not (isinstance(error, DBAPIError) and error.connection_invalidated):
        return False
    return bool(session.in_transaction() and session.connection().invalidated)


@contextmanager
def _stand_in_user(question: Question) -> Iterator[None]:
    """Without the database, let nobody's question load the current user: half a load could log it out."""

    def load() -> Any:
        if current_question() is question:
            question.refuse()
        # Another thread of this request, which is free to load it.
        if g.get("_login_user") is stand_in:
            g.pop("_login_user")
        return current_user._get_current_object()

    g._login_user = stand_in = LocalProxy(load)
    try:
        yield
    finally:
        # The application loads its own when it wants one, unless the callback logged somebody in.
        if g.get("_login_user") is stand_in:
            g.pop("_login_user")
