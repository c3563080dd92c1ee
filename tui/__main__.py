"""`mongopg-tui` and `python -m tui`. Nothing but the command line is imported here: `--help` must be instant."""

from __future__ import annotations

import io
import sys

from tui.entry import run_command_line


def main() -> None:
    """Run the command line and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a narrow encoding must not end a run
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
