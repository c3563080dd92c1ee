"""The key bindings of one node: `DOMNode._bindings`. Textual has a public name only for those of a class.

`App.set_keymap` would do for keys that one command has alone; of two that share a key, such as pause and resume, it takes
the key from both, and it loses the footer's order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from textual.binding import Binding, BindingsMap
from textual.dom import DOMNode


def rebind(node: DOMNode, own: Iterable[Binding], is_replaced: Callable[[Binding], bool]) -> None:
    """Give a node these bindings in the place of those that are replaced; the others stay, behind them."""
    others = [binding for _, binding in node._bindings if not is_replaced(binding)]
    node._bindings = BindingsMap([*own, *others])
