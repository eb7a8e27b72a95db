"""What the pages cost, as JSON, as a table and as a plot."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any

#: Milliseconds of the server that a page may take, and growth from the smallest log to the largest.
MOST_MS, MOST_GROWTH = 50.0, 1.3
#: Milliseconds of Python that a page of 50 rows may take, by the first word of its name; longer ones are left out.
MOST_PYTHON = {"list": 20.0, "record": 12.0}
LONGER = ("list, 200 rows", "list with breakdown")
#: Below so many milliseconds a ratio says nothing: the clock of the kernel and the machine's neighbours decide.
NOISE_MS = 4.0


@dataclass
class Measured:
    """One page on one log.

    :param server_ms: processor time of the server's process, for each round.
    :param python_ms: processor time of the application, for each round.
    :param executed_ms: what ``EXPLAIN ANALYZE`` says, added up.
    :param rows: that scans looked at.
    :param plans: of statements that took long; of a page that misses its target, that of the longest is kept.
    """

    path: str
    status: int = 0
    statements: int = 0
    server_ms: list[float] = field(default_factory=list)
    python_ms: list[float] = field(default_factory=list)
    executed_ms: float = 0.0
    blocks: int = 0
    rows: int = 0
    cold_status: int | None = None
    cold_ms: float | None = None
    plans: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def server(self) -> float:
        return min(self.server_ms)

    @property
    def python(self) -> float:
        return min(self.python_ms)

    def __str__(self) -> str:
        cold = "" if self.cold_ms is None else f", cold {self.cold_status} {self.cold_ms:.0f} ms"
        return (
            f"{self.status}: server {self.server:6.1f} ms, python {self.python:6.1f} ms, {self.statements} statements,"
            f" {self.blocks:,} blocks, {self.rows:,} rows{cold}"
        )


@dataclass
class File:
    """A file that was streamed.

    :param python_s: processor time of the application; that of the server's process is beside it, as is the clock's.
    :param memory_mb: what the process had more of than before.
    """

    name: str
    lines: int
    python_s: float
    server_s: float
    clock_s: float
    memory_mb: float

    def __str__(self) -> str:
        return f"{self.name:30} {' '.join(self.cells[1:])}"

    @property
    def cells(self) -> list[str]:
        rates = (self.python_s, self.python_s + self.server_s, self.clock_s)
        return [
            self.name,
            f"{self.lines:,}",
            *(f"{self.lines / max(seconds, 1e-6):,.0f}" for seconds in rates),
            f"{self.memory_mb:+.1f} MB",
        ]


@dataclass
class Report:
    """All figures of a run: by page and size of the log."""

    date: str
    machine: str
    load: list[float]
    rounds: int
    logs: list[str]
    figures: dict[str, dict[int, Measured]]
    files: list[File] = field(default_factory=list)

    def save(self, folder: Path) -> None:
        data = asdict(self)
        kept = []
        for name, sizes in data["figures"].items():
            for size, measured in sizes.items():
                plans = measured.pop("plans")
                if self.misses(name) and plans:
                    statement, plan = max(plans, key=lambda entry: entry[1]["Execution Time"])
                    kept.append({"page": name, "size": size, "statement": statement, "plan": _brief(plan["Plan"])})
        (folder / "pages.json").write_text(json.dumps(data, indent=1) + "\n")
        (folder / "pages-plans.jsonl").write_text("\n".join(map(json.dumps, kept)) + "\n")
        (folder / "pages.md").write_text(self.markdown())
        (folder / "pages.svg").write_text(self.plot())

    @property
    def sizes(self) -> list[int]:
        return sorted({size for measured in self.figures.values() for size in measured})

    def growth(self, name: str) -> float:
        """Server time on the largest log, as a multiple of that on the smallest."""
        small, large = (self.figures[name][size].server for size in (self.sizes[0], self.sizes[-1]))
        return large / small if small else 1.0

    def python(self, name: str) -> float:
        """Milliseconds of the application, on whichever log they were least."""
        return min(measured.python for measured in self.figures[name].values())

    def misses(self, name: str) -> list[str]:
        """What a page takes more of than it may."""
        found = [f"{m.status}" for m in self.figures[name].values() if m.status >= 500]
        largest = self.figures[name][self.sizes[-1]].server
        found += ["time"] if largest > MOST_MS and "rows" not in name.partition(",")[2] else []
        python = MOST_PYTHON.get(name.replace(",", " ").partition(" ")[0]) if name not in LONGER else None
        found += ["Python"] if python is not None and self.python(name) > python else []
        return found + (["growth"] if self.growth(name) > MOST_GROWTH and largest > NOISE_MS else [])

    def markdown(self) -> str:
        sizes = [f"{size / 1e6:g} M" for size in self.sizes]
        head = ["page", *(f"server, {size}" for size in sizes), "growth", *(f"blocks, {size}" for size in sizes)]
        head += [*(f"rows, {size}" for size in sizes), "statements", "Python", *(f"cold, {size}" for size in sizes), ""]
        rows = []
        for name, by_size in self.figures.items():
            found = [by_size[size] for size in self.sizes]
            cold = [("" if m.cold_ms is None else f"{m.cold_ms:,.0f} ms") for m in found]
            cold = [
                text + (f" ({m.cold_status})" if (m.cold_status or 0) >= 500 else "")
                for text, m in zip(cold, found, strict=True)
            ]
            rows.append(
                [
                    name, *(f"{m.server:,.1f} ms" for m in found), f"{self.growth(name):.2f}",
                    *(f"{m.blocks:,}" for m in found), *(f"{m.rows:,}" for m in found), f"{found[-1].statements}",
                    f"{self.python(name):,.1f} ms", *cold, ", ".join(self.misses(name)),
                ]
            )  # fmt: skip
        lines = [head, ["---", *["---:"] * (len(head) - 2), "---"], *rows]
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        about = f"{self.date}, {self.machine}; best of {self.rounds} rounds, load {self.load[0]} to {self.load[1]}."
        files = f"\n{self.table_of_files()}" if self.files else ""
        return f"{about}\n\n" + "\n".join(f"- {text}" for text in self.logs) + f"\n\n{table}\n{files}"

    def table_of_files(self) -> str:
        """Files that were streamed: lines a second by each clock, and memory."""
        head = ["file", "lines", "lines/s of Python", "with the server's time", "by the clock", "memory"]
        rows = [head, ["---", *["---:"] * (len(head) - 1)], *(found.cells for found in self.files)]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in rows) + "\n"

    def plot(self) -> str:
        """Bars of the server's milliseconds on each log, from zero, cut at twice the target."""
        left, width, bar, gap, y = 330, 420, 7, 5, 40
        lines = []
        for name, by_size in self.figures.items():
            lines.append(_text(left - 8, y + bar + 3, name, anchor="end", size=10))
            for size, colour in zip(self.sizes, ("#bbbbbb", "#0b6e4f", "#c8553d"), strict=False):
                taken = by_size[size].server
                length = min(taken / (2 * MOST_MS), 1.0) * width
                lines.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{bar - 1}" fill="{colour}"/>')
                lines.append(_text(left + length + 4, y + bar - 1, f"{taken:.1f}", size=7))
                y += bar
            y += gap
        x = left + width / 2
        head = ", ".join(f"{size / 1e6:g} million changes" for size in self.sizes)
        lines.append(f'<path d="M{x} 30V{y}" stroke="#0b6e4f" stroke-dasharray="3 2"/>')
        lines.append(
            _text(left, 20, f"Milliseconds of the server, warm: {head}; the line is {MOST_MS:.0f} ms", size=11)
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 60}" height="{y + 10}"'
            f' font-family="sans-serif">\n<rect width="100%" height="100%" fill="white"/>\n'
            + "\n".join(lines)
            + "\n</svg>\n"
        )


#: What is kept of each node of a plan.
_KEPT = ("Node Type", "Relation Name", "Index Name", "Index Cond", "Filter", "Plan Rows", "Actual Rows", "Actual Loops")


def _brief(node: dict[str, Any]) -> dict[str, Any]:
    below = [_brief(part) for part in node.get("Plans", ())]
    return {name: node[name] for name in _KEPT if name in node} | ({"Plans": below} if below else {})


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{escape(text)}</text>'
