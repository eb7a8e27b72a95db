"""Serve the shop: ``python -m example_app --port 5001``."""

from __future__ import annotations

import argparse
import errno
import signal
import socket
import sys
import time
from collections.abc import Sequence
from types import FrameType

import flask_migrate
from flask import Flask
from werkzeug.serving import make_server

from . import create_app
from .cli import ACCOUNTS, PASSWORD
from .database import DatabaseError
from .roles import ROLES
from .seed import SeedingError, ensure_history


def main(arguments: Sequence[str] | None = None, *, program: str = "python -m example_app") -> int:
    """Start everything, serve until Ctrl-C, stop everything.

    :param program: how it was started, for its help.
    :returns: the exit code.
    """
    options = _options(arguments, program)
    started = time.monotonic()
    # SIGINT, too: a shell starts its background jobs with that ignored, and then Python leaves it so.
    for asked_to_stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked_to_stop, _leave)
    try:
        with _listen(options.host, options.port) as listener:
            _say("Starting PostgreSQL and bringing the tables up to date.")
            app = create_app()
            prepare(app, history=not options.no_history)
            _serve(app, listener, time.monotonic() - started)
    except (DatabaseError, PortError, SeedingError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    _say("\nStopped. The data stays, and is there at the next start.")
    return 0


def prepare(app: Flask, *, history: bool = True) -> None:
    """Upgrade the schema, and make the demo's history if there is none."""
    with app.app_context():
        flask_migrate.upgrade()
    if history:
        ensure_history(app, _say)


class PortError(Exception):
    """The port can't be had."""


def _options(arguments: Sequence[str] | None, program: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program, description="Serve the example shop.")
    parser.add_argument("--port", type=int, default=5000, help="port to listen on (default: 5000)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--no-history", action="store_true", help="begin with empty tables, without accounts")
    return parser.parse_args(arguments)


def _listen(host: str, port: int) -> socket.socket:
    """Take the port before any work is done; who connects early waits."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise PortError(
                f"Port {port} is in use. Take another one: --port {port + 1}, or make demo PORT={port + 1}"
            ) from error
        raise PortError(f"Can't listen on {host} port {port}: {error}") from error
    return listener


def _serve(app: Flask, listener: socket.socket, seconds: float) -> None:
    host, port = listener.getsockname()[:2]
    server = make_server(host, port, app, threaded=True, fd=listener.fileno())
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    _say(f"\nThe shop is open after {seconds:.0f} s: {url}/\nThe audit log:            {url}/audit/\n\nLog in as")
    for username, display_name, role in ACCOUNTS:
        _say(f"  {username:8} password {PASSWORD}   {display_name}, {ROLES[role].lower()}")
    _say("\nCtrl-C stops the shop and its database.")
    server.serve_forever()


def _leave(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
