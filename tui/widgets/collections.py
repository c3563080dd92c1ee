"""The source's collections, to choose from."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from engine.control.protocol import CollectionInfo
from tui.format import NO_NUMBER, bytes_size, number
from tui.safe import safe
from tui.widgets.options import Options
from tui.widgets.words import MUTED

_COUNT_WIDTH = 13
_SIZE_WIDTH = 11


class CollectionList(Options, inherit_bindings=False):
    """`[x] orders  4,210,334  1.9 GiB`, each on a line; space chooses, a chooses all or none."""

    BINDINGS = [  # noqa: RUF012
        Binding("up,k", "cursor_up", "Up", show=False),
        Binding("down,j", "cursor_down", "Down", show=False),
        Binding("home", "first", "First", show=False),
        Binding("end", "last", "Last", show=False),
        Binding("pageup", "page_up", "Page up", show=False),
        Binding("pagedown", "page_down", "Page down", show=False),
        Binding("space", "choose", "Choose", id="setup.choose"),
        Binding("a", "choose_all", "All", id="setup.choose_all"),
    ]

    class Chosen(Message):
        """Another set of collections is chosen."""

    def __init__(self) -> None:
        super().__init__(markup=False, compact=True)
        self.collections: list[CollectionInfo] = []
        self.is_filled = False
        """The source has been asked."""
        self.chosen: set[str] = set()
        """Namespaces."""

    def fill(self, collections: Iterable[CollectionInfo], chosen: Collection[str]) -> None:
        """List these collections; when the settings name none, all are chosen."""
        self.collections = list(collections)
        self.is_filled = True
        known = {info.namespace for info in self.collections}
        self.chosen = set(chosen) & known if chosen else known
        self._draw()

    def chosen_collections(self) -> list[CollectionInfo]:
        """What is chosen, in the order of the list."""
        return [info for info in self.collections if info.namespace in self.chosen]

    def on_resize(self) -> None:
        """The columns follow the width."""
        self._draw()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A click chooses."""
        event.stop()
        self._toggle(event.option_index)

    def action_choose(self) -> None:
        """Choose or unchoose the collection under the cursor."""
        if self.highlighted is not None:
            self._toggle(self.highlighted)

    def action_choose_all(self) -> None:
        """Choose all; when all are chosen, none."""
        known = {info.namespace for info in self.collections}
        self.chosen = set() if self.chosen == known else known
        self._draw()

    def _toggle(self, index: int) -> None:
        self.chosen ^= {self.collections[index].namespace}
        self.replace_option_prompt_at_index(index, self._line(self.collections[index]))
        self.post_message(self.Chosen())

    def _draw(self) -> None:
        highlighted = self.highlighted
        self.set_options(Option(self._line(info)) for info in self.collections)
        if self.collections:
            self.highlighted = min(highlighted or 0, len(self.collections) - 1)
        self.post_message(self.Chosen())

    def _line(self, info: CollectionInfo) -> Content:
        mark = "[x]" if info.namespace in self.chosen else "[ ]"
        kind = f" ({info.kind})" if info.kind != "collection" else ""
        name_width = max(8, self.scrollable_content_region.width - len(mark) - 1 - _COUNT_WIDTH - _SIZE_WIDTH)
        name = Content(safe(info.namespace.partition(".")[2] or info.namespace, 120) + safe(kind, 20))
        name = name.truncate(name_width, ellipsis=True)
        count = number(info.documents) if info.documents >= 0 else NO_NUMBER
        return Content.assemble(
            f"{mark} ", name, " " * (name_width - name.cell_length), f"{count:>{_COUNT_WIDTH}}",
            (f"{bytes_size(info.size_bytes):>{_SIZE_WIDTH}}", MUTED),
        )  # fmt: skip
