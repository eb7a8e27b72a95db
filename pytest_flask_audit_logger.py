"""Fixtures of pytest for applications with Flask-Audit-Logger.

A module of its own beside the package: pytest loads it in every run of an environment that has the package, and it
imports nothing until a test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flask_audit_logger.testing import CapturedChanges


@pytest.fixture
def assert_audited(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Fail unless the log has a change that is as expected: ``flask_audit_logger.testing.assert_audited``.

    Outside an application context it is of the application of the fixture ``app``.
    """
    from flask_audit_logger import testing

    return partial(testing.assert_audited, app=_app(request))


@pytest.fixture
def captured_changes(request: pytest.FixtureRequest) -> Callable[[], AbstractContextManager[CapturedChanges]]:
    """A block and the changes recorded in it: ``flask_audit_logger.testing.captured_changes``.

    Outside an application context it is of the application of the fixture ``app``.
    """
    from flask_audit_logger import testing

    return partial(testing.captured_changes, _app(request))


@pytest.fixture
def no_audit(request: pytest.FixtureRequest) -> Iterator[None]:
    """Record nothing for as long as the test lasts: ``@pytest.mark.usefixtures("no_audit")``."""
    from flask_audit_logger import testing

    with testing.no_audit(_app(request)):
        yield


def _app(request: pytest.FixtureRequest) -> Any:
    """The application of this moment; else the fixture ``app``, as users of pytest-flask have it."""
    from flask import Flask, has_app_context

    if has_app_context():
        return None
    try:
        found = request.getfixturevalue("app")
    except pytest.FixtureLookupError:
        return None
    return found if isinstance(found, Flask) else None
