"""Files by name: what was typed as a path, and a new file written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from engine.errors import UsageError


def typed_path(name: str) -> Path:
    """The path that was typed; `~` is a home folder.

    Raises:
        UsageError: there is no such home folder.
    """
    path = Path(name.strip())
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise UsageError(f"{path.parts[0]} is no user's home: write ./{path} for a file that is called so.") from error


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet, for our user alone: reports hold values of the data.

    Raises:
        UsageError: it exists, or cannot be written; nothing is left of it then.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise UsageError(f"{path} exists already: choose another name.") from error
    except (OSError, ValueError) as error:
        raise _not_written(path, error) from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as error:  # a full disk, for one
        path.unlink(missing_ok=True)
        raise _not_written(path, error) from error


def write_over(path: Path, text: str) -> None:
    """Write a file in the place of one that is there, whole or not at all: that one stays when it cannot be.

    Raises:
        UsageError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    write_new(beside, text)
    try:
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise _not_written(path, error) from error


def read_text(path: Path) -> str:
    """What a file of text holds.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not text in UTF-8.") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def _not_written(path: Path, error: OSError | ValueError) -> UsageError:
    return UsageError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}.")
