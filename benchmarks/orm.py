"""Whole requests: each package in a process of its own, with and without it, one after the other in turns."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from itertools import count
from typing import IO

import sqlalchemy as sa

from benchmarks.variants import Variant
from benchmarks.workloads import computed

REQUESTS = 40
_numbers = count(10_000_000, REQUESTS)


@dataclass
class Server:
    """A process that answers requests, and the backend of PostgreSQL that its connection has."""

    process: subprocess.Popen[str]
    lines: IO[str]
    backend: int

    def measure(self) -> float:
        """Seconds that the process and its backend compute for one request of ``REQUESTS``."""
        assert self.process.stdin is not None
        before = computed(self.backend)
        self.process.stdin.write(f"{next(_numbers)} {REQUESTS}\n")
        self.process.stdin.flush()
        client = int(self.lines.readline()) / 1e9
        return (client + computed(self.backend) - before) / REQUESTS

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def start(variant: Variant, mode: str, url: sa.URL) -> Server:
    """Start the application of a package; ``mode`` is "audited" or "plain"."""
    assert variant.peer is not None
    process = subprocess.Popen(
        variant.peer.command(variant.name, mode, url), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return Server(process, process.stdout, int(process.stdout.readline()))
