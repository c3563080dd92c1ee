"""What an operator has the engine look at besides: a query on the target, a command, a file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from math import isnan
from sys import float_info

import asyncpg

from engine.config import PREFIX, GuardSettings
from engine.postgres.sqlstates import one_line
from engine.protocol import OwnVitals, Unseen
from engine.redaction import redact

QUERY, COMMAND, FILE = "guard.query", "guard.command", "guard.file"
"""What cannot be seen is named so."""
QUERY_S = 2.0
"""A query that takes longer is ended by the server."""
COMMAND_S = 10.0
"""A command that takes longer is killed."""
NO_NUMBER = "Its first value is no number, interval or boolean."
OUTPUT = 4_096
"""Bytes of its output that are looked at."""
_TOLD = 120


@dataclass(slots=True)
class Own:
    """What to look at; an operator may change it while a run goes on. Empty is nothing."""

    query: str = ""
    command: str = ""
    file: str = ""

    def take(self, guard: GuardSettings) -> None:
        """Look at what these settings name; nothing while guards are off."""
        self.query, self.command, self.file = (
            (guard.query.strip(), guard.command.strip(), guard.file.strip()) if guard.on else ("", "", "")
        )


async def number_of(connection: asyncpg.Connection, query: str) -> float:
    """The first value of a query as a number; 0 for no row and for NULL.

    Raises:
        ValueError: it is no number, or the query cannot be asked so.
        asyncpg.PostgresError, asyncpg.InterfaceError, OSError: the server or the connection is at fault.
    """
    try:
        async with connection.transaction(readonly=True):
            await connection.execute(f"SET LOCAL statement_timeout = {round(QUERY_S * 1000)}")
            value = await connection.fetchval(query)
    except asyncpg.InterfaceError as error:
        if connection.is_closed():
            raise
        raise ValueError(f"It cannot be asked: {one_line(str(error))}.") from error  # such as one with a $1 in it
    except (OverflowError, LookupError) as error:  # of a time beyond Python's, or rows without a column
        raise ValueError(NO_NUMBER) from error
    if isinstance(value, timedelta):
        return value.total_seconds()
    if value is None:
        return 0.0
    if isinstance(value, (bool, int, float, Decimal)) and not isnan(value):  # which is past no limit
        return max(-float_info.max, min(float_info.max, float(value)))  # JSON has no infinity
    raise ValueError(NO_NUMBER)


class OwnReading:
    """Looks at command and file."""

    def __init__(self, own: Own) -> None:
        """Nothing is looked at yet."""
        self._own = own
        self._has_file: bool | None = None
        self._unseen_file: list[Unseen] = []
        self._of_command = OwnVitals()
        """What the command said."""
        self._command = ""
        """Which one."""

    @property
    def view(self) -> OwnVitals | None:
        """What was seen last; None where there is nothing to look at."""
        if not self._own.command and not self._own.file:
            return None
        seen = self._of_command
        return seen.model_copy(update={"has_file": self._has_file, "unseen": [*self._unseen_file, *seen.unseen]})

    async def look(self) -> None:
        """Look at both, once."""
        await self.look_at_file()
        await self.look_at_command()

    async def look_at_file(self) -> None:
        """Once; by itself, since a command may take its time and the file counts at once."""
        has_file, unseen, file = None, [], self._own.file
        if file:
            try:
                has_file = await asyncio.to_thread(_exists, file)
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) else str(error)
                unseen.append(Unseen(what=FILE, why=f"The file cannot be looked at ({why})."))
        self._has_file, self._unseen_file = has_file, unseen

    async def look_at_command(self) -> None:
        """Once."""
        command, seen = self._own.command, OwnVitals()
        if command != self._command:
            self._command, self._of_command = command, seen
        if command:
            try:
                exit_code, output = await _executed(command)
                seen = OwnVitals(exit_code=exit_code, output=output)
            except TimeoutError:
                seen = OwnVitals(unseen=[Unseen(what=COMMAND, why=f"The command took longer than {COMMAND_S:.0f} s.")])
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) else str(error)
                seen = OwnVitals(unseen=[Unseen(what=COMMAND, why=f"The command cannot be executed ({why}).")])
        self._of_command = seen


def _exists(path: str) -> bool:
    """Raises OSError, or ValueError for what cannot be a path, where there is no telling."""
    try:
        os.stat(os.path.expanduser(path))
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


async def _executed(command: str) -> tuple[int, str]:
    """The exit code and the first line of the output.

    It is split into words as a shell does, and executed without one, with nothing of ours in its environment.

    Raises:
        OSError, ValueError: it cannot be executed. TimeoutError: it took too long, and was killed.
    """
    words = shlex.split(command)
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if not name.startswith(PREFIX)},
        process_group=0,
    )
    output = bytearray()
    reading = asyncio.create_task(_read(process, output))
    try:
        async with asyncio.timeout(COMMAND_S):
            code = await process.wait()
            with contextlib.suppress(TimeoutError):  # a child of it may keep the pipe open
                await asyncio.wait_for(asyncio.shield(reading), 0.2)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        reading.cancel()
    text = bytes(output).decode(errors="replace").strip()
    return code, one_line(redact(text.partition("\n")[0]), _TOLD)


async def _read(process: asyncio.subprocess.Process, output: bytearray) -> None:
    """Keep the beginning, and go on reading so that the command does not wait for us."""
    assert process.stdout is not None
    while chunk := await process.stdout.read(65_536):
        output += chunk[: OUTPUT - len(output)]
