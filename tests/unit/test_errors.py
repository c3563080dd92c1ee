"""Errors keep their class, code and exit code when they travel from the engine to a front end."""

from __future__ import annotations

import pytest

from engine import errors
from engine.errors import MigrationError, UsageError, error_from


def all_kinds(kind: type[MigrationError] = MigrationError) -> list[type[MigrationError]]:
    return [kind, *(below for each in kind.__subclasses__() for below in all_kinds(each))]


@pytest.mark.parametrize("kind", [kind for kind in all_kinds() if kind.__module__ == errors.__name__])
def test_an_error_that_travelled_is_of_the_class_it_was(kind: type[MigrationError]) -> None:
    error = kind("A sentence.")
    arrived = error_from(error.code, error.message, error.exit_code)
    assert type(arrived) is kind
    assert (arrived.code, arrived.message, arrived.exit_code) == (error.code, error.message, error.exit_code)


def test_a_code_without_a_class_keeps_its_exit_code() -> None:
    error = UsageError("Table public.users does not fit the plan.", code="table_differs")
    arrived = error_from(error.code, error.message, error.exit_code)
    assert isinstance(arrived, UsageError)
    assert (arrived.code, arrived.exit_code) == ("table_differs", errors.EXIT_USAGE)


def test_a_class_of_another_page_is_never_made_from_what_travelled() -> None:
    class Taken(MigrationError):
        def __init__(self, claim: int) -> None:
            super().__init__(f"Slice {claim} is committed already.")

    arrived = error_from("state", "The run is over.", errors.EXIT_FAILED)
    assert (type(arrived), arrived.code, arrived.message) == (MigrationError, "state", "The run is over.")
    del Taken


def test_every_class_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in all_kinds() if kind.__module__ == errors.__name__]
    assert len(codes) == len(set(codes))
