"""``__all__`` is the API: every name in it exists, is documented and says where it comes from."""

from __future__ import annotations

import inspect
import types

import pytest

import flask_audit_logger


def test_all_is_sorted_and_has_no_duplicates():
    names = flask_audit_logger.__all__
    assert list(names) == sorted(set(names), key=str.casefold)


def test_every_public_name_of_the_package_is_exported():
    public = {
        name
        for name, value in vars(flask_audit_logger).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType) and name != "annotations"
    }
    assert public == set(flask_audit_logger.__all__)


@pytest.mark.parametrize("name", getattr(flask_audit_logger, "__all__", []))
def test_an_exported_name_exists_and_is_documented(name):
    exported = getattr(flask_audit_logger, name)
    assert inspect.getdoc(exported), f"{name} has no docstring"
