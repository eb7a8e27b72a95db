"""Make each change of ``mutants.txt`` in a copy of the repository, run the tests named for it, and print who survived.

``python -m tests.mutants [WORD ...]`` runs the mutants whose line contains one of the words, without words all of them.
It exits with 1 if a mutant survives, if a test is red without any change, or if a line of the list is out of date.
"""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.listed import ROOT, Mutant, read_list
from tests.support.cluster import Cluster

#: A mutant that makes its tests wait for ever is noticed, too.
SECONDS = 300
IGNORED = shutil.ignore_patterns(".*", "__pycache__", "instance", "screenshots", "htmlcov", "build", "dist")


def run(folder: Path, tests: list[str], url: str, seconds: float | None = None) -> tuple[int, str]:
    """Exit code and output of pytest in a copy."""
    environment = {**os.environ, "AUDIT_TEST_DATABASE_URL": url, "PYTHONPATH": str(folder)}
    # python writes no bytecode: two changes of one file may have the same size and the same second
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return 1, "timed out"
    return done.returncode, done.stdout + done.stderr


def unchanged(mutants: list[Mutant], folder: Path, url: str) -> str | None:
    """What is wrong without any change: a red test would notice everything."""
    code, output = run(folder, sorted({test for mutant in mutants for test in mutant.ids()}), url)
    return f"pytest ended with {code}:\n{output[-3000:]}" if code else None


def check(mutant: Mutant, folder: Path, url: str) -> str | None:
    """What is wrong, or ``None`` if a test noticed the change."""
    path = folder / mutant.path
    original = path.read_text()
    path.write_text(mutant.applied_to(original))
    try:
        code, output = run(folder, mutant.ids(), url, SECONDS)
    finally:
        path.write_text(original)
    if code == 1:
        return None
    return "SURVIVED" if code == 0 else f"pytest ended with {code}:\n{output[-1500:]}"


def main(words: list[str]) -> int:
    listed = read_list()
    faults = [f"{mutant}: {fault}" for mutant in listed if (fault := mutant.fault())]
    for fault in faults:
        print(fault)
    chosen = [m for m in listed if m.fault() is None and (not words or any(word in str(m) for word in words))]
    if words and not chosen:
        print(f"No line of the list has any of: {', '.join(words)}")
        return 1
    jobs = int(os.environ.get("JOBS", "2"))
    with tempfile.TemporaryDirectory(prefix="audit-mutants-") as temporary, Cluster() as cluster:
        url = cluster.url().render_as_string(hide_password=False)
        copies: queue.Queue[Path] = queue.Queue()
        for number in range(jobs):
            copies.put(Path(shutil.copytree(ROOT, Path(temporary) / str(number), ignore=IGNORED)))

        def in_a_copy(mutant: Mutant | None) -> str | None:
            folder = copies.get()
            try:
                found = unchanged(chosen, folder, url) if mutant is None else check(mutant, folder, url)
            finally:
                copies.put(folder)
            if found:
                print(f"{mutant or 'without any change'}: {found}", flush=True)
            return found

        with ThreadPoolExecutor(jobs) as pool:
            found = list(pool.map(in_a_copy, [None, *chosen]))
    survived = sum(fault is not None for fault in found[1:])
    print(f"{len(chosen)} mutants, {len(chosen) - survived} noticed, {survived} not, {len(faults)} lines out of date")
    return 1 if faults or any(found) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
