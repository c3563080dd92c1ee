"""Writing a sequence that Textual does not know to the terminal: `App._driver`. Its bell is written the same way."""

from __future__ import annotations

from textual.app import App


def tell_terminal(app: App[None], sequence: str) -> None:
    """Write it between two drawings; without a driver, as after the end, it goes nowhere."""
    driver = getattr(app, "_driver", None)
    if driver is not None:
        driver.write(sequence)
