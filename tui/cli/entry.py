"""From arguments to an exit code: runs a command of `tui.cli.commands`; whatever goes wrong is one sentence on stderr.

With `--json` it is also the last line on stdout. As in `tui.cli.commands`, nothing heavy is imported at module level.
"""

from __future__ import annotations

import errno
import sys
import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import typer

from engine.errors import EXIT_DONE, Cancelled, MigrationError, UsageError
from tui.cli.commands import COMMANDS, application

RUN_COMMANDS = frozenset({"run", "follow", "seed", "demo"})
"""Commands whose last JSON line is `{"event": "finished", ...}`, also when they could not start."""


def run_command_line(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    threading.excepthook = _failed_in_thread
    as_json = "--json" in arguments
    command = next((word for word in arguments if word in COMMANDS), "")
    try:
        code = application(arguments)(args=_with_bare_resume(arguments), prog_name="mongopg-tui", standalone_mode=False)
        return code if isinstance(code, int) else EXIT_DONE
    except typer.TyperException as error:
        return _report(UsageError(_sentence(error, command)), command, as_json=as_json)
    except MigrationError as error:
        return _report(error, command, as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        return _report(Cancelled("Interrupted."), command, as_json=as_json)
    except BrokenPipeError:
        _silence_stdout()
        return EXIT_DONE
    except Exception as error:
        if isinstance(
            error.__cause__, KeyboardInterrupt
        ):  # wrapped by Python 3.11, where it came while a class was made
            return _report(Cancelled("Interrupted."), command, as_json=as_json)
        return _report(_unexpected(error), command, as_json=as_json)


def _with_bare_resume(arguments: Sequence[str]) -> list[str]:
    """`--resume` takes a value or none; the parser knows only options that always take one."""
    return [
        "--resume=" if word == "--resume" and after.startswith("-") else word
        for word, after in pairwise([*arguments, "-"])
    ]


def _sentence(error: typer.TyperException, command: str) -> str:
    """The parser's complaint as one sentence, with what was meant or where to look."""
    option = getattr(error, "option_name", None)
    if isinstance(option, str) and hasattr(error, "possibilities"):
        complaint = f"No such option: {' '.join(option.split())}"
        if others := _commands_with(option):
            return f"{complaint}; it is one of `mongopg-tui {others[0]}`."
        if near := error.possibilities:
            return f"{complaint}. Did you mean {near[0]}?"
    else:
        complaint = " ".join(error.format_message().split()).rstrip(".")
    if complaint.endswith("?"):  # it knows what was meant
        return complaint
    page = f"mongopg-tui {command} --help" if command else "mongopg-tui --help"
    return f"{complaint}; see `{page}`."


def _commands_with(option: str) -> list[str]:
    """Commands that take an option, the most used first."""
    group: Any = typer.main.get_command(application(COMMANDS))
    of_each = {name: {flag for one in each.params for flag in one.opts} for name, each in group.commands.items()}
    return sorted((name for name, flags in of_each.items() if option in flags), key=lambda name: name != "run")


def _report(error: MigrationError, command: str, *, as_json: bool) -> int:
    from engine.redaction import redact
    from tui.cli.output import fail, say_json

    error.message = redact(
        error.message
    )  # it may repeat what was typed, such as a connection string in the wrong place
    facts: dict[str, Any] = getattr(error, "facts", {})
    record: dict[str, Any] = {"error": {"code": error.code, "message": error.message}} | facts
    if command in RUN_COMMANDS:
        from tui.cli.json_lines import finished_record

        record = finished_record({}, error)
    if as_json:
        try:
            say_json(record)
        except OSError:  # no reader, or a full disk: stderr tells it, too
            _silence_stdout()
    fail(error.message)
    return error.exit_code


def _silence_stdout() -> None:
    from tui.cli.output import silence

    silence(sys.stdout)


def _unexpected(error: Exception) -> MigrationError:
    """A bug: the traceback goes to a file, stderr gets a sentence. A full disk is none."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return MigrationError(
            f"{error.filename or 'The output'} cannot be written: {error.strerror}.", code="disk_full"
        )
    return MigrationError(f"This is a fault of mongopg-tui ({type(error).__name__}){_kept(error)}.", code="internal")


def _failed_in_thread(facts: threading.ExceptHookArgs) -> None:
    """As `_unexpected`, for a thread: Python would print the traceback, and what is secret in it."""
    from tui.cli.output import warn

    if facts.exc_value is not None:
        warn(f"A part of mongopg-tui failed ({facts.exc_type.__name__}){_kept(facts.exc_value)}.")


def _kept(error: BaseException) -> str:
    """Which log has the traceback of `error` now, or why none has, as the end of a sentence."""
    import traceback

    from engine.redaction import scrub
    from engine.service.sockets import state_folder

    try:
        log = state_folder() / "command-line.log"
        log.touch(mode=0o600)
        log.write_text(scrub("".join(traceback.format_exception(error))))
    except (OSError, MigrationError):  # it must not hide the sentence
        return "; there is no folder to keep its traceback in"
    return f"; {log} says more"
