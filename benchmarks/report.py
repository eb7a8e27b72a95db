"""The table that a run prints: ratios to the variant without audit."""

from __future__ import annotations

from statistics import median

#: Seconds by name of the work, then by name of the variant.
Timings = dict[str, dict[str, list[float]]]


def table(timings: Timings, base: str) -> str:
    """Markdown: minimum of the rounds as a ratio to ``base``, with the ratio of the medians in brackets."""
    variants = list(next(iter(timings.values())))
    others = [name for name in variants if name != base]
    lines = ["| work | " + " | ".join([f"{base}, ms", *others]) + " |", "|---|" + "---|" * len(variants)]
    for work, measured in timings.items():
        cells = [f"{min(measured[base]) * 1000:,.0f}"]
        cells += [_ratio(measured[name], measured[base]) for name in others]
        lines.append(f"| {work} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def rows_not_below(timings: Timings, name: str, other: str) -> list[str]:
    """The work in which ``name`` was not faster than ``other``."""
    return [work for work, measured in timings.items() if min(measured[name]) >= min(measured[other])]


def _ratio(measured: list[float], base: list[float]) -> str:
    return f"{min(measured) / min(base):.1f} ({median(measured) / median(base):.1f})"
