"""Promise P1, for tables nobody thought of: what is logged equals what a model in Python says should be.

The model knows of each value its SQL and its JSON in the log, and nothing of how the triggers come to it. Tables have
random columns and options, statements change one row or many, and columns are added, dropped and renamed by hand in
between. ``AUDIT_TEST_EXAMPLES`` is the number of tables of each kind; ``make test-long`` takes 600.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.capture.tables import audited, logged, run

EXAMPLES = int(os.environ.get("AUDIT_TEST_EXAMPLES", "30"))


def text_mark(text: str) -> dict[str, str]:
    return {"audit_logger": "text", "text": text}


#: For each type some values, as SQL and as they are logged; no two of a type have the same image.
VALUES: dict[str, list[tuple[str, Any]]] = {
    "bigint": [("1", 1), ("2", 2)],
    "text": [("'a'", "a"), ("'a '", "a "), ("''", ""), ("'100%s %I $1'", "100%s %I $1")],
    "varchar(20)": [("'x'", "x"), ("'y'", "y")],
    "char(3)": [("'x'", "x  "), ("'yz'", "yz ")],
    "numeric": [("1.0", 1.0), ("2.50", 2.5), ("'NaN'", "NaN")],
    "float8": [("0", 0), ("'-0'", text_mark("-0")), ("1.5", 1.5), ("'Infinity'", "Infinity")],
    "bool": [("true", True), ("false", False)],
    "date": [("'2026-01-02'", "2026-01-02"), ("'infinity'", "infinity")],
    "timestamptz": [("'2026-01-02 00:00+02'", "2026-01-01T22:00:00+00:00")],
    "interval": [("'1 day'", "1 day"), ("'24 hours'", "24:00:00")],
    "bytea": [("'\\x00ff'", "\\x00ff"), ("''", "\\x")],
    "uuid": [("'00000000-0000-0000-0000-000000000001'", "00000000-0000-0000-0000-000000000001")],
    "jsonb": [
        ("'{\"a\": 1}'", {"a": 1}),
        ("'null'", {"audit_logger": "json null"}),
        ("'{\"audit_logger\": 1}'", {"audit_logger": "value", "value": {"audit_logger": 1}}),
    ],
    "json": [("'[1]'", [1]), ("'\"\\u0000\"'", text_mark('"\\u0000"')), ("'null'", {"audit_logger": "json null"})],
    "int[]": [("'{1,NULL}'", [1, None]), ("'{}'", []), ("'[0:0]={1}'", text_mark("[0:0]={1}"))],
    "float4[]": [("'{0}'", [0]), ("'{-0}'", text_mark("{-0}"))],
    "mood": [("'fine'", "fine"), ("'so la la'", "so la la")],
    "mood[]": [("'{fine,NULL}'", ["fine", None]), ("'[2:2]={fine}'", text_mark("[2:2]={fine}"))],
    "pair": [("'(1,x)'", "(1,x)"), ("'(,)'", "(,)")],
    "small": [("7", 7), ("8", 8)],
    "int4range": [("'[1,5)'", "[1,5)"), ("'empty'", "empty")],
}
MASKED = {"audit_logger": "masked"}
NULL = ("NULL", None)
PREPARE = """
CREATE TYPE mood AS ENUM ('fine', 'so la la');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN small AS int CHECK (value < 10);
"""


@dataclass
class Model:
    """A table and what its log should hold."""

    name: str
    columns: dict[str, str]
    options: dict[str, Any]
    rows: dict[int, dict[str, tuple[str, Any]]] = field(default_factory=dict)
    expected: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = field(default_factory=list)

    def is_stored(self, column: str) -> bool:
        only = self.options.get("only")
        return column not in self.options.get("exclude", ()) and (only is None or column in only)

    def shown(self, row: dict[str, tuple[str, Any]]) -> dict[str, Any]:
        hidden = self.options.get("mask", ())
        return {c: MASKED if c in hidden else value for c, (_, value) in row.items() if self.is_stored(c)}

    def insert(self, rows: dict[int, dict[str, tuple[str, Any]]]) -> str:
        for key, row in rows.items():
            self.rows[key] = {"id": (str(key), key), **row}
            self.expected.append(("insert", str(key), {}, self.shown(self.rows[key])))
        names = ", ".join(["id", *self.columns])
        lines = ", ".join(
            f"({', '.join([str(key), *(f'{row[c][0]}::{kind}' for c, kind in self.columns.items())])})"
            for key, row in rows.items()
        )
        return f"INSERT INTO {self.name} ({names}) VALUES {lines}"

    def update(self, keys: list[int], values: dict[str, tuple[str, Any]]) -> str:
        for key in keys:
            before = dict(self.rows[key])
            changed = {c for c, value in values.items() if before[c] != value and self.is_stored(c)}
            self.rows[key] |= values
            if changed - set(self.options.get("ignore", ())):
                old = self.shown(before)
                if self.options.get("old_data") == "changed":
                    old = {c: value for c, value in old.items() if c in changed}
                new = {c: value for c, value in self.shown(self.rows[key]).items() if c in changed}
                self.expected.append(("update", str(key), old, new))
        pairs = ", ".join(f"{c} = {sql}::{self.columns[c]}" for c, (sql, _) in values.items())
        # a CTE, so that the rows are changed in the order of the model
        return f"UPDATE {self.name} SET {pairs} WHERE id IN ({', '.join(map(str, keys)) or 'NULL'})"

    def delete(self, keys: list[int]) -> str:
        for key in keys:
            self.expected.append(("delete", str(key), self.shown(self.rows.pop(key)), {}))
        return f"DELETE FROM {self.name} WHERE id IN ({', '.join(map(str, keys)) or 'NULL'})"

    def add(self, column: str, kind: str) -> str:
        self.columns[column] = kind
        for row in self.rows.values():
            row[column] = NULL
        return f"ALTER TABLE {self.name} ADD COLUMN {column} {kind}"

    def drop(self, column: str) -> str:
        del self.columns[column]
        for row in self.rows.values():
            del row[column]
        return f"ALTER TABLE {self.name} DROP COLUMN {column}"

    def rename(self, column: str, name: str) -> str:
        self.columns[name] = self.columns.pop(column)
        for row in self.rows.values():
            row[name] = row.pop(column)
        return f"ALTER TABLE {self.name} RENAME COLUMN {column} TO {name}"


def values(kind: str) -> st.SearchStrategy[tuple[str, Any]]:
    return st.sampled_from([NULL, *VALUES[kind]])


def draw_options(data: st.DataObject, columns: list[str]) -> dict[str, Any]:
    some = st.lists(st.sampled_from(columns), unique=True, max_size=2)
    options = {name: data.draw(some, label=name) for name in ("exclude", "ignore", "mask")}
    options = {name: found for name, found in options.items() if found}
    if data.draw(st.booleans(), label="is only"):
        options["only"] = ["id", *data.draw(some, label="only")]
    if data.draw(st.booleans(), label="is changed"):
        options["old_data"] = "changed"
    return options


def statements(data: st.DataObject, model: Model, keys: itertools.count[int], names: itertools.count[int]) -> str:
    kind = data.draw(st.sampled_from(["insert", "update", "update", "delete", "add", "drop", "rename", "compile"]))
    chosen = sorted(data.draw(st.sets(st.sampled_from(sorted(model.rows)), max_size=3))) if model.rows else []
    if kind == "insert":
        count = data.draw(st.integers(1, 3))
        row = st.fixed_dictionaries({c: values(k) for c, k in model.columns.items()})
        return model.insert({next(keys): data.draw(row) for _ in range(count)})
    if kind == "update" and model.columns:
        named = data.draw(st.lists(st.sampled_from(sorted(model.columns)), unique=True, min_size=1, max_size=3))
        return model.update(chosen, {c: data.draw(values(model.columns[c])) for c in named})
    if kind == "delete":
        return model.delete(chosen)
    if kind == "add":
        return model.add(f"c{next(names)}", data.draw(st.sampled_from(sorted(VALUES))))
    if kind in ("drop", "rename") and model.columns:
        column = data.draw(st.sampled_from(sorted(model.columns)))
        return model.drop(column) if kind == "drop" else model.rename(column, f"c{next(names)}")
    return f"SELECT audit_logger_compile_again('{model.name}'::regclass::oid)"


@pytest.mark.parametrize("is_partitioned", [False, True], ids=["plain", "partitioned"])
def test_random_tables(outside, is_partitioned):
    run(outside, PREPARE)
    tables = itertools.count(1)

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        names, keys = itertools.count(1), itertools.count(1)
        kinds = data.draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=5))
        columns = {f"c{next(names)}": kind for kind in kinds}
        model = Model(f"t{next(tables)}", columns, draw_options(data, list(columns)))
        made = ", ".join(["id int PRIMARY KEY", *(f"{c} {kind}" for c, kind in columns.items())])
        run(outside, f"CREATE TABLE {model.name} ({made}){' PARTITION BY RANGE (id)' if is_partitioned else ''}")
        if is_partitioned:
            for place, (first, end) in enumerate([("MINVALUE", "4"), ("4", "MAXVALUE")]):
                bounds = f"FOR VALUES FROM ({first}) TO ({end})"
                run(outside, f"CREATE TABLE {model.name}_{place} PARTITION OF {model.name} {bounds}")
        audited(outside, model.name, key=["id"], partitioned=is_partitioned, **model.options)
        with outside.connect() as connection:  # one session, so that its plans are those of before
            for _ in range(data.draw(st.integers(1, 8))):
                connection.exec_driver_sql(statements(data, model, keys, names).replace("%", "%%"))
                connection.commit()
        found = [(a.verb, a.record_key, a.old_data, a.changed_data) for a in logged(outside, table_name=model.name)]
        assert sorted(found, key=repr) == sorted(model.expected, key=repr)

    check()
