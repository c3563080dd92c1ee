"""How an application of Textual 8.2.8 ends after an error: `App._handle_exception`, `_fatal_error`, `_return_code`,
`_exit` and `_close_messages_no_wait`.

Textual has no public hook for an error that nothing has handled. Its own way prints the traceback with the values of local
variables; those may be connection strings.
"""

from __future__ import annotations

import sys

from rich.console import RenderableType
from textual.app import App

from engine.errors import EXIT_FAILED


class FailsQuietly(App[None]):
    """An application whose bugs are a sentence of its own. Put before `App` among the bases."""

    @property
    def is_ending(self) -> bool:
        """The application is told to end, or has ended."""
        return self._exit or not self.is_running

    def is_harmless(self, error: Exception) -> bool:
        """The application goes on as if there had been no such error."""
        raise NotImplementedError

    def say_bug(self, error: BaseException | None) -> None:
        """Keep a sentence for the terminal."""
        raise NotImplementedError

    def fail(self, *renderables: RenderableType) -> None:
        """End with these on the terminal."""
        self._return_code = EXIT_FAILED
        super().panic(*renderables)

    def _handle_exception(self, error: Exception) -> None:
        if not self.is_harmless(error):
            super()._handle_exception(error)

    def _fatal_error(self) -> None:
        self.say_bug(sys.exc_info()[1])
        self._close_messages_no_wait()
