"""Promise: the list of mutants fits the code, so that ``make mutants`` says something."""

from __future__ import annotations

from tests.mutants.listed import read_list


def test_every_line_fits_the_code():
    listed = read_list()
    assert [f"{mutant}: {fault}" for mutant in listed if (fault := mutant.fault())] == []
    assert all(mutant.text != mutant.replacement and "\n" not in mutant.text for mutant in listed)


def test_there_are_many_and_of_every_kind():
    listed = read_list()
    assert len(listed) >= 40
    assert {mutant.file.partition("/")[0] for mutant in listed} >= {"capture", "migrations", "query", "sql", "ui"}
