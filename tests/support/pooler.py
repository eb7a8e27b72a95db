"""PgBouncer in front of the server of the tests, where it is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import system_user


@contextmanager
def pooler(settings: str, users: Mapping[str, str] | None = None) -> Iterator[dict[str, str]]:
    """PgBouncer with these settings, on a socket; gives host and port, as a URL has them in its query.

    The test is skipped where it is not installed or does not start.

    :param users: who may connect, with their passwords, where ``auth_type`` wants to know.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    folder = Path(tempfile.mkdtemp(prefix="audit-bouncer-"))
    user = system_user()
    options: dict[str, Any] = {}
    if user is not None:
        entry = pwd.getpwnam(user)
        shutil.chown(folder, user)
        options = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    ours = f"listen_addr =\nlisten_port = 6432\nunix_socket_dir = {folder}\nauth_file = {folder}/users\n"
    files = {
        "bouncer.ini": f"{settings}\n{ours}",
        "users": "".join(f'"{name}" "{password}"\n' for name, password in (users or {}).items()),
    }
    for name, text in files.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o644)
    process = subprocess.Popen([program, "-q", str(folder / "bouncer.ini")], cwd=folder, **options)
    try:
        deadline = time.monotonic() + 10
        while not (folder / ".s.PGSQL.6432").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.skip("pgbouncer did not start here")
            time.sleep(0.05)
        yield {"host": str(folder), "port": "6432"}
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)
