"""What a run has measured, as JSON, as tables, and as a plot."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from statistics import median

BASE, OURS = "floor", "ours"
REQUEST = "request"
RESULTS = "<!-- results -->"
COLOURS = ("#bbbbbb", "#777777", "#0b6e4f", "#c8553d", "#e0a458", "#7768ae", "#4f86c6")


@dataclass
class Results:
    """All figures of a run: by work, variant and kind, one for each round.

    Kinds are ``seconds`` (processor time of the server), ``wal`` and ``log`` (bytes for each change), and of requests
    ``plain`` and ``audited`` (processor time of client and server for one).
    """

    date: str
    machine: str
    load: list[float]
    rounds: int
    variants: list[str]
    targets: dict[str, float | None]
    figures: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    #: Work and variant of what the server gave up after ten seconds.
    given_up: set[tuple[str, str]] = field(default_factory=set)

    def add(self, work: str, variant: str, kind: str, figure: float) -> None:
        self.figures.setdefault(work, {}).setdefault(variant, {}).setdefault(kind, []).append(figure)

    def save(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "capture.json").write_text(
            json.dumps({**asdict(self), "given_up": sorted(self.given_up)}, indent=1) + "\n"
        )
        (folder / "capture.md").write_text(self.markdown())
        (folder / "capture.svg").write_text(self.plot())
        readme = folder.parent / "README.md"
        text = readme.read_text().split(RESULTS)[0]
        readme.write_text(f"{text}{RESULTS}\n\n![The same as bars](results/capture.svg)\n\n{self.markdown()}")

    # -- tables

    def markdown(self) -> str:
        parts = [
            f"{self.date}, {self.machine}; {self.rounds} rounds, load {min(self.load)} to {max(self.load)}.",
            "Processor time of the server, times the floor: minimum by minimum, in brackets the median of the ratios of"
            " each round.\n\n" + self._times(),
        ]
        if REQUEST in self.figures:
            parts.append(
                "One request that inserts a row through the ORM, processor time of client and server, in the"
                " environment of each package.\n\n" + self._requests()
            )
        parts.append(
            "Bytes for each change: of the log with its indexes, and of WAL beside that of no audit.\n\n"
            + self._bytes()
        )
        return "\n\n".join(parts) + "\n"

    def _works(self) -> list[str]:
        return [work for work in self.figures if work != REQUEST]

    def ratio(self, work: str, variant: str) -> float:
        measured = self.figures[work]
        return min(measured[variant]["seconds"]) / min(measured[BASE]["seconds"])

    def _times(self) -> str:
        others = [name for name in self.variants if name != BASE]
        rows = []
        for work in self._works():
            measured = self.figures[work]
            cells = [f"{min(measured[BASE]['seconds']) * 1000:,.0f} ms"]
            for name in others:
                if (work, name) in self.given_up:
                    cells.append("over 10 s")
                    continue
                rounds = zip(measured[name]["seconds"], measured[BASE]["seconds"], strict=True)
                cells.append(f"{self.ratio(work, name):.2f} ({median(a / b for a, b in rounds):.2f})")
            target = self.targets.get(work)
            rows.append([work, *cells, "" if target is None else f"{target}"])
        return _table(["work", BASE, *others, "target for ours"], rows)

    def _requests(self) -> str:
        rows = []
        for name, modes in self.figures[REQUEST].items():
            plain, audited = min(modes["plain"]), min(modes["audited"])
            ratios = [a / b for a, b in zip(modes["audited"], modes["plain"], strict=True)]
            rows.append(
                [
                    name,
                    f"{plain * 1e6:,.0f} µs",
                    f"{audited * 1e6:,.0f} µs",
                    f"{audited / plain:.2f} ({median(ratios):.2f})",
                ]
            )
        return _table(["package", "without it", "with it", "ratio"], rows)

    def _bytes(self) -> str:
        none = self.variants[0]
        logging = self.variants[1:]
        rows = []
        for work in self._works():
            measured = self.figures[work]
            if not max(measured[OURS]["log"]):
                continue
            cells = []
            for name in logging:
                if (work, name) in self.given_up:
                    cells.append("")
                    continue
                wal = median(measured[name]["wal"]) - median(measured[none]["wal"])
                cells.append(f"{median(measured[name]['log']):,.0f} / {wal:,.0f}")
            rows.append([work, *cells])
        return _table(["log / WAL", *logging], rows)

    # -- plot

    def plot(self) -> str:
        """Bars of the ratios to the floor, from zero; one that doesn't fit is cut and says how long it is."""
        works = [work for work in self._works() if len(self.figures[work][OURS]["seconds"]) == self.rounds]
        left, width, bar, gap, head = 300, 560, 11, 16, 44
        longest = 8.0
        lines, y = [], head
        for work in works:
            target = self.targets.get(work)
            top = y
            lines.append(_text(left - 8, y + bar * len(self.variants) / 2 + 4, work, anchor="end"))
            for name, colour in zip(self.variants, COLOURS, strict=False):
                if (work, name) in self.given_up:
                    lines.append(_text(left + 4, y + bar - 2, "over 10 s", size=9))
                    y += bar
                    continue
                ratio = self.ratio(work, name)
                length = min(ratio, longest) / longest * width
                lines.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{bar - 1}" fill="{colour}"/>')
                label = f"{ratio:.2f}" + (" (cut)" if ratio > longest else "")
                lines.append(_text(left + length + 4, y + bar - 2, label, size=9))
                y += bar
            if target is not None:
                x = left + target / longest * width
                lines.append(f'<path d="M{x:.1f} {top - 2}V{y + 1}" stroke="#0b6e4f" stroke-dasharray="3 2"/>')
            y += gap
        x = 10.0
        for name, colour in zip(self.variants, COLOURS, strict=False):
            lines.append(f'<rect x="{x:.0f}" y="24" width="10" height="10" fill="{colour}"/>')
            lines.append(_text(x + 14, 33, name))
            x += 34 + 6.6 * len(name)
        title = f"Processor time of the server, times the floor ({self.date}); dashed: the target for ours"
        lines.append(_text(10, 15, title))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 70}" height="{y}"'
            ' font-family="sans-serif">\n'
            f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(lines) + "\n</svg>\n"
        )


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" text-anchor="{anchor}">{escape(text)}</text>'


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])
