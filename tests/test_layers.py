"""Promise: imports point down only, without circles; files are few, of fair size, and say what is found there."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
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
    "capture": Layer("exceptions settings models schema", "click flask flask_login sqlalchemy werkzeug"),
    "i18n": Layer("", "babel flask flask_babel markupsafe"),
    # Pure: no database, no request.
    "diff": Layer("i18n"),
    "query": Layer("exceptions i18n diff settings sql models schema", "sqlalchemy"),
    "migrations": Layer("exceptions settings sql models schema", "alembic sqlalchemy"),
    "databases": Layer("exceptions", "flask sqlalchemy"),
    # Code outside a request has it, too; its commands alone need an application.
    "history": Layer(
        "exceptions i18n diff settings sql models schema databases query", "click flask flask_login sqlalchemy"
    ),
    # Pages and exports see the database only through the layers of query and history.
    "ui": Layer("exceptions i18n diff settings query history", "flask flask_login jinja2 markupsafe werkzeug wtforms"),
    # All but commands.py works where there is no application: a job may have a database and nothing else.
    "growth": Layer("exceptions sql models schema databases query", "click flask sqlalchemy pyarrow"),
    "health": Layer("exceptions sql schema growth", "sqlalchemy"),
    "cli": Layer("exceptions settings schema databases health growth history", "click flask sqlalchemy"),
    "registry": Layer("exceptions models schema databases", "sqlalchemy"),
    "extension": Layer(
        "exceptions settings models databases registry schema capture query migrations ui growth history health cli",
        "flask sqlalchemy",
    ),
    # For tests; no application loads it.
    "testing": Layer("exceptions settings schema capture databases query history extension", "flask sqlalchemy"),
    # It starts the example shop, which is no part of the package and imports what it likes.
    "demo": Layer(),
}


def modules() -> dict[str, Path]:
    """Dotted name of each module, without the name of the package."""
    names = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


MODULES = modules()


class Imports(ast.NodeVisitor):
    """Full dotted names of what a module imports.

    :param with_types: also what only type checkers see.
    """

    def __init__(self, package: list[str], *, with_types: bool) -> None:
        self.package = package
        self.with_types = with_types
        self.found: list[str] = []

    def visit_If(self, node: ast.If) -> None:
        if self.with_types or ast.unparse(node.test) not in (
            "TYPE_CHECKING",
            "typing.TYPE_CHECKING",
            "t.TYPE_CHECKING",
        ):
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


def imports_of(name: str, *, with_types: bool = False) -> list[str]:
    path = MODULES[name]
    parts = [PACKAGE, *filter(None, name.split("."))]
    visitor = Imports(parts if path.name == "__init__.py" else parts[:-1], with_types=with_types)
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


def test_what_reads_an_old_log_is_loaded_only_where_there_may_be_one():
    module = f"{PACKAGE}.migrations.from_2.detect"
    assert module.removeprefix(f"{PACKAGE}.") in MODULES
    code = f"import sys, {PACKAGE}.migrations; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def circle(graph: dict[str, set[str]]) -> tuple[str, ...]:
    """Some modules that import each other in a circle, or none."""
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> tuple[str, ...]:
        if name in path:
            return (*path[path.index(name) :], name)
        if name in done:
            return ()
        found = next(filter(None, (walk(imported, (*path, name)) for imported in sorted(graph[name]))), ())
        done.add(name)
        return found

    return next(filter(None, (walk(name, ()) for name in graph)), ())


def test_no_modules_import_each_other_in_a_circle():
    """Imports for types count: whoever reads one module has to read the other."""
    graph = {}
    for name in MODULES:
        imported = {inside(i) for i in imports_of(name, with_types=True)} - {None, name}
        # a package imports its modules; what they name it for are its own names
        graph[name] = {module for module in imported if not name.startswith(f"{module}.") and module}
    assert circle(graph) == ()


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ("b", "c", "b")
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == ()


def test_the_layers_themselves_have_an_order():
    """Each layer names only layers above it in the table, so that `down` has a meaning."""
    seen: list[str] = []
    for name, layer in LAYERS.items():
        assert set(layer.inside.split()) <= set(seen), name
        seen.append(name)


#: `__init__` aside. Whoever follows a change through the package should open few of them.
MOST_FILES = 80
#: Rooms and files of what the first version did not do; they are not counted.
LATER_ROOMS = ("demo.py", "growth", "history", "testing.py")
FILES = [path for path in MODULES.values() if path.name != "__init__.py"]


def test_files_are_few_and_of_fair_size():
    without = [path for path in FILES if not {path.parent.name, path.name} & set(LATER_ROOMS)]
    assert len(without) <= MOST_FILES
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES.values()}
    assert {name: number for name, number in lines.items() if number > 500} == {}


def test_no_two_files_share_a_name():
    """`find_symbol revert` has one answer. `__init__` aside, which only says what its folder is about."""
    shared = Counter(path.name for path in FILES)
    assert [name for name, number in shared.items() if number > 1] == []


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_in_one_sentence_what_is_found_there(name):
    text = ast.get_docstring(ast.parse(MODULES[name].read_text(encoding="utf-8"))) or ""
    first, _, rest = text.partition("\n")
    assert re.fullmatch(r"[A-Z`][^\n]*[^.]\.", first), "the first line is a sentence"
    assert not re.search(r"[.!?;] ", first), "the first line is one sentence"
    assert not rest or rest.startswith("\n"), "the sentence fits into its line"
