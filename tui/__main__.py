"""`mongopg-tui` and `python -m tui`. Nothing but the command line is imported: `--help` must be instant."""

from __future__ import annotations

import io
import sys

from engine.errors import EXIT_CANCELLED


def main() -> None:
    """Run the command line and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a narrow encoding must not end a run
            stream.reconfigure(errors="backslashreplace")
    try:
        from tui.entry import run_command_line  # in here, so that ctrl-C while it loads is no traceback either

        code = run_command_line(sys.argv[1:])
    except KeyboardInterrupt:
        code = EXIT_CANCELLED
    sys.exit(code)


if __name__ == "__main__":
    main()
