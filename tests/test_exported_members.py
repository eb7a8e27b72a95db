"""``__all__`` is the API: every name in it exists, is documented and says where it comes from."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import types

import pytest

import flask_audit_logger
from flask_audit_logger import exceptions


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


def subclasses(error: type[Exception]) -> set[type[Exception]]:
    return {error}.union(*map(subclasses, error.__subclasses__()))


def test_every_error_is_in_one_module_and_in_the_tree_at_its_top():
    for module in pkgutil.walk_packages(flask_audit_logger.__path__, "flask_audit_logger."):
        if ".example_app" not in module.name:
            importlib.import_module(module.name)
    errors = {error for error in subclasses(exceptions.AuditLoggerError) if "flask_audit_logger" in error.__module__}
    assert {error.__module__ for error in errors} == {exceptions.__name__}
    assert len(errors) > 15
    assert [error.__name__ for error in errors if f"``{error.__name__}``" not in exceptions.__doc__] == []
