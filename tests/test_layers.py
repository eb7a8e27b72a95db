"""Imports point down only, without circles: the layers of the package, from the bottom to the top."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "flask_audit_logger"
ROOT = Path(__file__).parent.parent / PACKAGE


@dataclass(frozen=True)
class Layer:
    """What a layer may import at run time besides itself and the standard library."""

    inside: str = ""
    outside: str = ""


LAYERS = {
    "exceptions": Layer(),
    "settings": Layer("exceptions", "flask"),
    "sql": Layer("exceptions"),
    "models": Layer("exceptions", "sqlalchemy"),
    "schema": Layer("exceptions settings sql models", "sqlalchemy"),
    "capture": Layer(
        "exceptions settings models schema", "click flask flask_login flask_sqlalchemy sqlalchemy werkzeug"
    ),
    "i18n": Layer("", "babel flask flask_babel markupsafe"),
    # Pure: no database, no request.
    "diff": Layer("i18n"),
    "query": Layer("exceptions i18n diff settings sql models schema", "sqlalchemy"),
    "migrations": Layer("exceptions settings sql models schema", "alembic sqlalchemy"),
    # Pages and exports see the database only through the query layer.
    "ui": Layer("exceptions i18n diff settings query", "flask flask_login jinja2 markupsafe werkzeug wtforms"),
    "health": Layer("exceptions sql schema", "sqlalchemy"),
    "cli": Layer("exceptions settings schema health", "click flask sqlalchemy"),
    "registry": Layer("exceptions models schema", "flask_sqlalchemy sqlalchemy"),
    "extension": Layer(
        "exceptions settings models registry schema capture query migrations ui health cli",
        "flask flask_sqlalchemy sqlalchemy",
    ),
}


def modules() -> dict[str, Path]:
    """Dotted name of each module, without the name of the package."""
    names = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


MODULES = modules()


class RuntimeImports(ast.NodeVisitor):
    """Full dotted names of what a module imports, leaving out what only type checkers see."""

    def __init__(self, package: list[str]) -> None:
        self.package = package
        self.found: list[str] = []

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) not in ("TYPE_CHECKING", "typing.TYPE_CHECKING", "t.TYPE_CHECKING"):
            self.generic_visit(node)
            return
        for statement in node.orelse:
            self.visit(statement)

    def visit_Import(self, node: ast.Import) -> None:
        self.found += [alias.name for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = self.package[: len(self.package) - node.level + 1] if node.level else []
        source = ".".join([*base, *([node.module] if node.module else [])])
        self.found += [f"{source}.{alias.name}" for alias in node.names]


def imports_of(name: str) -> list[str]:
    path = MODULES[name]
    parts = [PACKAGE, *filter(None, name.split("."))]
    visitor = RuntimeImports(parts if path.name == "__init__.py" else parts[:-1])
    visitor.visit(ast.parse(path.read_text(encoding="utf-8")))
    return visitor.found


def inside(imported: str) -> str | None:
    """The module of the package that an imported name comes from; None if it isn't from this package."""
    top, _, rest = imported.partition(".")
    if top != PACKAGE:
        return None
    while rest not in MODULES:
        rest = rest.rpartition(".")[0]
    return rest


def offences(name: str) -> Iterator[str]:
    layer = name.partition(".")[0]
    allowed = LAYERS[layer]
    for imported in imports_of(name):
        module = inside(imported)
        if module is None:
            top = imported.partition(".")[0]
            if top not in sys.stdlib_module_names and top not in allowed.outside.split():
                yield imported
        elif module.partition(".")[0] not in (layer, *allowed.inside.split()):
            yield imported


@pytest.mark.parametrize("name", [name for name in MODULES if name])
def test_a_module_imports_only_from_its_layer_and_below(name):
    assert name.partition(".")[0] in LAYERS, f"{name} belongs to no layer; add it to LAYERS"
    assert list(offences(name)) == []


def test_no_modules_import_each_other_in_a_circle():
    graph = {name: {m for i in imports_of(name) if (m := inside(i)) is not None} - {name} for name in MODULES}
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, "circle: " + " -> ".join((*path[path.index(name) :], name))
        if name not in done:
            for imported in graph[name]:
                walk(imported, (*path, name))
            done.add(name)

    for name in graph:
        walk(name, ())


def test_the_layers_themselves_have_an_order():
    """Each layer names only layers above it in the table, so that `down` has a meaning."""
    seen: list[str] = []
    for name, layer in LAYERS.items():
        assert set(layer.inside.split()) <= set(seen), name
        seen.append(name)
