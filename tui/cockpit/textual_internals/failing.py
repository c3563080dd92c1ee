"""What an application of Textual 8.2.8 does about an error that nothing has handled: `App._handle_exception`,
`_fatal_error` and `_close_messages_no_wait`.

Textual has no public hook for it. Its own way prints the traceback with the values of local variables; those may be
connection strings.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.console import RenderableType
from textual.app import App

from engine.errors import EXIT_FAILED


class FailsQuietly(App[None]):
    """An application whose bugs are a sentence of its own."""

    _is_told_to_end = False
    _has_failed = False

    @property
    def is_ending(self) -> bool:
        """The application is told to end, or has ended."""
        return self._is_told_to_end or not self.is_running

    @property
    def return_code(self) -> int | None:
        """The exit code; None before the end."""
        return EXIT_FAILED if self._has_failed else super().return_code

    def exit(self, result: None = None, return_code: int = 0, message: RenderableType | None = None) -> None:
        """End."""
        self._is_told_to_end = True
        super().exit(result, return_code, message)

    def is_harmless(self, error: Exception) -> bool:
        """The application goes on as if there had been no such error."""
        raise NotImplementedError

    def say_bug(self, error: BaseException | None) -> None:
        """Keep a sentence for the terminal."""
        raise NotImplementedError

    def fail(self, renderables: Iterable[RenderableType]) -> None:
        """End with these on the terminal."""
        self._has_failed = True
        super().panic(*renderables)

    def _handle_exception(self, error: Exception) -> None:
        if not self.is_harmless(error):
            super()._handle_exception(error)

    def _fatal_error(self) -> None:
        self.say_bug(sys.exc_info()[1])
        self._close_messages_no_wait()
