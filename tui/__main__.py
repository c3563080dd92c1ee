"""`mongopg-tui` and `python -m tui`. Nothing but the command line is imported: `--help` must be instant."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys

from engine.errors import EXIT_CANCELLED, EXIT_DONE, EXIT_FAILED
from tui import garbage, starting


def main() -> None:
    """Run the command line and leave with its exit code."""
    garbage.expect_little()
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a narrow encoding must not end a run
            stream.reconfigure(errors="backslashreplace")
    if starting.opens_cockpit(sys.argv[1:]):
        starting.tell()
    try:
        from tui.cli.entry import run_command_line  # in here, so that ctrl-C while it loads is no traceback either

        code = run_command_line(sys.argv[1:])
    except KeyboardInterrupt:
        starting.erase()
        with contextlib.suppress(OSError):
            sys.stderr.write("Error: Interrupted.\n")
        code = EXIT_CANCELLED
    starting.erase()
    sys.exit(_let_go_of_lost_streams(code))


def _open_what_is_closed() -> None:
    """Let a standard stream that was closed (`>&-`) lead to nowhere, or a connection would get its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(nowhere, True)
            setattr(sys, name, os.fdopen(nowhere, "w" if number else "r", encoding="utf-8", closefd=False))


def _let_go_of_lost_streams(code: int) -> int:
    """What cannot be written would be written once more at Python's end, and fail: the exit code would be 120.

    Returns:
        The exit code, of a failure where results are lost that nothing else has told.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if error.errno == errno.ENOSPC and stream is sys.stdout and code == EXIT_DONE:
                with contextlib.suppress(OSError):
                    sys.stderr.write(f"Error: The output cannot be written: {error.strerror}.\n")
                code = EXIT_FAILED
    return code


if __name__ == "__main__":
    main()
