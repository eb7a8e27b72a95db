"""Templates are compiled once in a process, though every application of a test has environments of its own."""

from __future__ import annotations

from types import CodeType
from typing import Any

import jinja2

_compile = jinja2.Environment.compile
_compiled: dict[tuple[Any, ...], CodeType] = {}


def compile_once() -> None:
    """Keep what Jinja compiles: that of the pages takes four times as long as to read and render one."""
    jinja2.Environment.compile = _kept  # type: ignore[assignment,method-assign]


def _kept(
    self: jinja2.Environment, source: Any, name: str | None = None, filename: str | None = None, *args: Any, **kw: Any
) -> Any:
    if args or kw or not isinstance(source, str):
        return _compile(self, source, name, filename, *args, **kw)
    # what of an environment the code depends on
    key = (type(self), source, name, filename, self.trim_blocks, self.lstrip_blocks, self.keep_trailing_newline)
    autoescape = self.autoescape if isinstance(self.autoescape, bool) else self.autoescape(name)
    key += (autoescape, self.optimized, self.is_async, *sorted(self.extensions), *sorted(self.filters))
    if key not in _compiled:
        _compiled[key] = _compile(self, source, name, filename)
    return _compiled[key]
