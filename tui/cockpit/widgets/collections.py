"""The source's collections, to choose from: all of a database, or those that a filter leaves."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from engine.errors import UsageError
from engine.notation import leaves_out, parsed, written_namespace
from engine.protocol import CollectionInfo
from tui.cockpit.signs import MUTED
from tui.cockpit.widgets.filter import FilterField, has
from tui.cockpit.widgets.options import LINE_KEYS, Options
from tui.words.format import NO_NUMBER, bytes_size, compact, number
from tui.words.safe import safe

_COUNT_WIDTH = 13
_SIZE_WIDTH = 11


class CollectionList(Options, inherit_bindings=False):
    """`[x] orders  4,210,334  1.9 GiB`, each on a line; the screen's commands choose."""

    BINDINGS = LINE_KEYS

    class Chosen(Message):
        """Another set of collections is chosen."""

    def __init__(self) -> None:
        super().__init__(markup=False, compact=True)
        self.collections: list[CollectionInfo] = []
        self.shown: list[CollectionInfo] = []
        """Those that the filter leaves."""
        self.sought = ""
        self.is_filled = False
        """The source has been asked."""
        self.chosen: set[str] = set()
        """Namespaces."""
        self._told: list[Content] = []
        """What is shown while there is nothing to list."""

    def fill(
        self, collections: Iterable[CollectionInfo], chosen: Collection[str], *, chooses_all: bool, again: bool = False
    ) -> None:
        """List these collections with the chosen ones, or with all, marked.

        Args:
            again: the same database as before: what was there already stays chosen, or left out.
        """
        before = {info.namespace for info in self.collections} if again else set()
        self.collections = list(collections)
        self.is_filled = True
        known = {info.namespace for info in self.collections}
        wanted = known if chooses_all else set(chosen) & known
        self.chosen = (wanted - before) | (self.chosen & before & known)
        self.shown = [info for info in self.collections if has(info.namespace.partition(".")[2], self.sought)]
        self._draw()

    def seek(self, sought: str) -> None:
        """Show only collections with this in their name; what is chosen stays chosen, shown or not."""
        self.sought = sought
        self.shown = [info for info in self.collections if has(info.namespace.partition(".")[2], sought)]
        self._draw()

    def tell(self, lines: Sequence[Content]) -> None:
        """What to show while there is nothing to list."""
        if lines != self._told:
            self._told = list(lines)
            if not self.shown:
                self._draw()

    @property
    def highlighted_collection(self) -> CollectionInfo | None:
        """The collection under the cursor."""
        return self.shown[self.highlighted] if self.highlighted is not None and self.shown else None

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

    def choose(self) -> None:
        """Choose or unchoose the collection under the cursor."""
        if self.highlighted is not None:
            self._toggle(self.highlighted)

    def choose_all(self) -> None:
        """Choose all that are shown, but no view; when all of them are chosen, none of what is shown."""
        shown = {info.namespace for info in self.shown}
        wanted = unnamed(self.shown) or shown
        self.chosen = self.chosen - shown if wanted <= self.chosen else self.chosen | wanted
        self._draw()

    def choose_only(self, namespaces: Collection[str]) -> None:
        """Choose just these."""
        self.chosen = {info.namespace for info in self.collections} & set(namespaces)
        self._draw()

    def _toggle(self, index: int) -> None:
        self.chosen ^= {self.shown[index].namespace}
        self.replace_option_prompt_at_index(index, self._line(self.shown[index]))
        self.post_message(self.Chosen())

    def _draw(self) -> None:
        highlighted = self.highlighted
        lines = self._told
        if self.collections:
            lines = [Content.styled(f"No collection has {safe(self.sought, 40)} in its name.", MUTED)]
        shown = [Option(self._line(info)) for info in self.shown]
        self.set_options(shown or [Option(line, disabled=True) for line in lines])
        if self.shown:
            self.highlighted = min(highlighted or 0, len(self.shown) - 1)
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


class CollectionsPanel(Vertical):
    """The list of one database, its filter, and a line that sums what is chosen."""

    def __init__(self) -> None:
        super().__init__(id="collections")
        self._entries: dict[str, list[str]] = {}
        """Configured, of the listed database: the entries of each collection, as typed, one for each table."""
        self._left_out: set[str] = set()
        """Listed collections that `run.exclude` leaves out."""
        self._elsewhere: list[str] = []
        """Configured, of other databases: they are copied, too."""
        self._note = ""

    def compose(self) -> ComposeResult:
        """Filter, list and sum."""
        self.border_title = Content("Collections")
        yield FilterField(CollectionList)
        yield CollectionList()
        yield Static(id="chosen", markup=False)

    @property
    def listing(self) -> CollectionList:
        """The list."""
        return self.query_one(CollectionList)

    @property
    def filter(self) -> FilterField:
        """What the list is filtered by."""
        return self.query_one(FilterField)

    def fill(
        self,
        database: str,
        found: Sequence[CollectionInfo],
        entries: Sequence[str],
        *,
        excluded: Sequence[str] = (),
        is_picked: bool,
        again: bool = False,
    ) -> None:
        """Show the collections of a database.

        Args:
            entries: `run.collections` of the settings; those of this database are chosen; when there are none, all
                but views.
            excluded: `run.exclude` of the settings: what is like one of these is not chosen at first.
            is_picked: the database was picked from the server's: what is configured in others does not count.
            again: it is shown already, and what was chosen stays chosen.
        """
        named = [(namespace_of(entry), entry) for entry in entries]
        own = [(name, entry) for name, entry in named if name.partition(".")[0] == database]
        others = [] if is_picked else [(name, entry) for name, entry in named if name.partition(".")[0] != database]
        self._entries = {}
        for name, entry in own:
            self._entries.setdefault(name, []).append(entry)
        self._elsewhere = [entry for name, entry in others if not leaves_out(excluded, name)]
        self._note = ""
        self._left_out = {info.namespace for info in found if leaves_out(excluded, info.namespace)}
        self.border_title = Content(f"Collections of {safe(database, 60)}")
        is_unnamed = not self._entries and not others
        chosen = unnamed(found) if is_unnamed else set(self._entries)
        self.listing.fill(found, chosen - self._left_out, chooses_all=False, again=again)

    def leave_out(self, excluded: Sequence[str]) -> None:
        """`run.exclude` is another one now: what it leaves out is not chosen any more, and what it left out is."""
        before = self._left_out
        self._left_out = {info.namespace for info in self.listing.collections if leaves_out(excluded, info.namespace)}
        if self._left_out != before:
            self.listing.choose_only((self.listing.chosen | before) - self._left_out)

    def empty(self, note: str = "") -> None:
        """There is nothing to list, and why."""
        self._note = note
        self.border_title = Content("Collections")
        self.listing.fill([], [], chooses_all=True)
        self.listing.is_filled = False

    def say(self, note: str) -> None:
        """Why nothing is listed; an empty note takes that back."""
        if note != self._note:
            self._note = note
            self._count()

    def tell(self, lines: Sequence[Content]) -> None:
        """What to show in the list while there is nothing to list."""
        self.listing.tell(lines)

    def chosen(self) -> list[str]:
        """What `run.collections` is to be: entries that were configured keep their tables."""
        entries = list[str]()
        for info in self.listing.chosen_collections():
            entries += self._entries.get(info.namespace) or [written_namespace(info.namespace)]
        return [*entries, *self._elsewhere]

    @property
    def is_everything(self) -> bool:
        """All that is copied is all that a run copies which is told no names."""
        named = unnamed(self.listing.collections) - self._left_out
        listed = [info.namespace for info in self.listing.collections if info.namespace in named]
        return bool(listed) and self.chosen() == [written_namespace(name) for name in listed]

    @property
    def n_elsewhere(self) -> int:
        """Collections of other databases that are copied."""
        return len(self._elsewhere)

    @on(FilterField.Typed)
    def _filtered(self, event: FilterField.Typed) -> None:
        self.listing.seek(event.text)

    @on(CollectionList.Chosen)
    def _count(self) -> None:
        listing = self.listing
        chosen = listing.chosen_collections()
        documents = compact(sum(max(0, info.documents) for info in chosen))
        size = bytes_size(sum(info.size_bytes for info in chosen))
        elsewhere = f" and {len(self._elsewhere)} of other databases" if self._elsewhere else ""
        words = f"{len(chosen)} of {len(listing.collections)} selected{elsewhere} · {documents} docs · {size}"
        if listing.sought:
            words = f"{len(listing.shown)} shown, {words}"
        if not listing.collections:
            words = f"this database has no collections{elsewhere}" if listing.is_filled else ""
        self.query_one("#chosen", Static).update(Content(self._note or words), layout=False)


def unnamed(found: Iterable[CollectionInfo]) -> set[str]:
    """What a run copies which is told no names: views have to be named."""
    return {info.namespace for info in found if info.kind != "view"}


def namespace_of(entry: str) -> str:
    """The collection that an entry of `run.collections` is about; the entry itself where a run would refuse it."""
    try:
        return parsed(entry).namespace
    except UsageError:
        return entry
