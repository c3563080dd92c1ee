"""When Python looks for garbage: seldom while everything is only being imported and mounted, as usual afterwards."""

from __future__ import annotations

import gc

WHILE_LOADING = 50_000
"""Objects made between two looks; Python's own 700 make it look hundreds of times among what stays."""
_AS_USUAL = gc.get_threshold()


def expect_little() -> None:
    """What is made from here on stays."""
    gc.set_threshold(WHILE_LOADING, *_AS_USUAL[1:])


def settle() -> None:
    """What is there stays; what comes from here on, such as dialogs that are closed again, is looked after."""
    gc.freeze()
    gc.set_threshold(*_AS_USUAL)
