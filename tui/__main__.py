"""`mongopg-tui` and `python -m tui`. Nothing but the command line is imported: `--help` must be instant."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys

from engine.errors import EXIT_CANCELLED
from tui import garbage, starting


def main() -> None:
    """Run the command line and leave with its exit code."""
    garbage.expect_little()
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
    _let_go_of_lost_terminal()
    sys.exit(code)


def _let_go_of_lost_terminal() -> None:
    """What no reader is left for would be written once more at Python's end, and fail: the exit code would be 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            if error.errno == errno.EIO:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    main()
