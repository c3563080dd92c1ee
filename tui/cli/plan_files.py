"""Saved plans as files: read, written whole or not at all, and not contradicted by flags."""

from __future__ import annotations

import os
from pathlib import Path

from engine.errors import UsageError
from tui.cli.options import Given


def read_plan(file: Path) -> str:
    """A saved plan.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"The plan {file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"The plan {file} is not text in UTF-8.") from error


def save_plan(file: Path, text: str) -> None:
    """Write a new file, whole or not at all."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with temporary.open("x", encoding="utf-8") as stream:
            stream.write(text)
        temporary.rename(file)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"The plan cannot be saved as {file}: {error.strerror}.") from error


def check_plan_decides(file: Path | None, given: Given) -> None:
    """Raise UsageError for a flag that says what the plan says already."""
    deciding = {"--collection": "run.collections", "--exclude": "run.exclude", "--mode": "run.mode"}
    for flag, setting in deciding.items():
        if file is not None and setting in given.settings:
            raise UsageError(f"Give {flag} or --plan, not both: change it in {file} instead.")
