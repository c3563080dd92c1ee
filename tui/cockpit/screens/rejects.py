"""The Rejects screen: rejected documents by reason, one document beside its reason, and the policy that would take it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from textual import on, work
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static
from textual.worker import Worker

from engine.errors import MigrationError
from engine.protocol import (
    ListRejected,
    ListRejects,
    MakeReport,
    Recording,
    RejectChoice,
    RejectedDocument,
    RejectedPage,
    RejectGroup,
    RejectsReport,
    Replay,
    RetryRejects,
    RetryReport,
    RunReport,
)
from tui.cockpit.api import CockpitApi
from tui.cockpit.commands import Place, Situation, bindings_of
from tui.cockpit.dialogs.choosing import ChoosingDialog
from tui.cockpit.dialogs.exporting import offer_export
from tui.cockpit.dialogs.questions import confirm, error_dialog
from tui.cockpit.dialogs.sheet import Sheet
from tui.cockpit.export import report_of
from tui.cockpit.screens.base import CockpitScreen
from tui.cockpit.signs import MUTED
from tui.cockpit.widgets.listing import Lines, ListColumn, Listing
from tui.words.format import counted, number
from tui.words.rejects import (
    can_change,
    choice_words,
    detail_words,
    document_lines,
    meaning_words,
    policy_value,
    policy_words,
    reason_words,
    short_id,
    takers_words,
)
from tui.words.run_status import goes_on
from tui.words.safe import safe

PAGE = 200
"""Documents that are asked for at once."""
MOST_CHARS = 20_000
"""Of a document on the screen."""
SETTLES_S = 0.15
"""The cursor rests on a reason for so long before its documents are asked for."""
FOLLOWS_S = 1.0
"""So often is it looked whether the run has more rejects."""
RESTS = 10
"""So many times as long as the last answer took the ledger is left alone: with very many rejects it takes its time."""
_REASONS = (
    ListColumn("collection", weight=2),
    ListColumn("field", weight=2),
    ListColumn("reason", 12, gives_room=True),
    ListColumn("docs", 7, is_right=True, gives_room=True),
    ListColumn("policy", 24, gives_room=True),
)
_DOCUMENTS = (ListColumn("_id"),)


@dataclass(frozen=True, slots=True)
class Reason:
    """What tells one group of rejects from the others."""

    namespace: str
    reason: str
    field: str
    sqlstate: str

    @classmethod
    def of(cls, group: RejectGroup) -> Reason:
        """Of a group."""
        return cls(group.namespace, group.reason, group.field, group.sqlstate)

    @property
    def choice(self) -> RejectChoice:
        """To be asked for."""
        return RejectChoice(namespace=self.namespace, reason=self.reason, field=self.field, sqlstate=self.sqlstate)


class RejectsScreen(CockpitScreen):
    """Reasons above, the documents of the one under the cursor below, the document under the cursor beside them."""

    PLACE = Place.REJECTS
    BINDINGS = bindings_of(Place.REJECTS)
    AUTO_FOCUS = "#reasons Lines"

    def __init__(self, cockpit: CockpitApi) -> None:
        super().__init__(cockpit)
        self.run_id = ""
        """The run that is shown; empty is the newest."""
        self.report: RejectsReport | None = None
        self.chosen_policies: dict[Reason, str] = {}
        """For the next retry, by reason."""
        self._back = Place.RUN
        """Where Escape leads."""
        self._doing = ""
        """What the screen waits for; nothing else is begun meanwhile."""
        self._said = ""
        """What became of the last retry."""
        self._documents: list[RejectedDocument] = []
        self._following = ""
        """Where the next page begins; empty when all are there."""
        self._loaded: Reason | None = None
        """The reason whose documents are shown."""
        self._loaded_of = 0
        """How many it had when they were asked for."""
        self._reading: Worker[None] | None = None
        """The newest question for documents."""
        self._loading: Worker[None] | None = None
        """The newest question for the reasons."""
        self._known = 0
        """Rejects that the run had at that question."""
        self._rests_until = 0.0

    def body(self) -> Iterable[Widget]:
        """Reasons, documents, one document."""
        yield Static(id="rejects-head", markup=False)
        yield Listing(_REASONS, id="reasons", is_fitted=True)
        with Horizontal(id="rejects-bottom"):
            yield Listing(_DOCUMENTS, id="rejected")
            with VerticalScroll(id="document"):
                yield Static(id="document-text", markup=False)

    def on_mount(self) -> None:
        """Titles."""
        self.query_one("#reasons").border_title = Content("Reasons")
        self.query_one("#rejected").border_title = Content("Documents")
        self.query_one("#document").border_title = Content("Document")
        self.set_interval(FOLLOWS_S, self._follow)

    def _follow(self) -> None:
        """Read the rejects again when the run has others, while they are looked at."""
        session = self.cockpit.runs.session
        if self.report is None or session is None or session.snapshot.run_id != self.report.run_id or self._doing:
            return
        is_free = self.is_current and _is_over(self._loading) and time.monotonic() >= self._rests_until
        if is_free and session.snapshot.rejected != self._known:
            self._load()

    @property
    def _mode(self) -> str:
        """Of the run."""
        return self.report.mode if self.report is not None else ""

    @property
    def group(self) -> RejectGroup | None:
        """The reason under the cursor."""
        index = self.query_one("#reasons", Listing).index
        groups = self.report.groups if self.report is not None else []
        return groups[index] if index is not None and index < len(groups) else None

    @property
    def document(self) -> RejectedDocument | None:
        """The document under the cursor."""
        index = self.query_one("#rejected", Listing).index
        return self._documents[index] if index is not None and index < len(self._documents) else None

    def adjusted(self, now: Situation) -> Situation:
        """Whether there is a reason under the cursor, and something is on."""
        doing = "retrying" if self._doing == "retry" else now.doing
        return replace(now, is_busy=bool(self._doing), has_result=self.group is not None, doing=doing)

    def show_situation(self) -> None:
        """The hint follows: nothing is retried before the run is over."""
        super().show_situation()
        if self.report is not None:
            self._draw_head()

    def choose(self, run_id: str, back: Place) -> None:
        """Show the rejects of a run.

        Args:
            run_id: empty is the newest.
            back: the screen that Escape leads to.
        """
        self._back = back
        if self._doing == "retry":
            return
        if run_id != self.run_id or self.report is None:
            self.run_id, self.report, self._said, self.chosen_policies = run_id, None, "", {}
            self._forget_documents()
        self.set_focus(self.query_one("#reasons Lines", Lines))
        self._load()

    def to_copy(self) -> tuple[str, str]:
        """The document under the cursor with its reason."""
        return str(self.query_one("#document-text", Static).content), "the document"

    # --- commands ---

    def action_again(self) -> None:
        """Read the rejects again."""
        self._load()

    def action_open(self) -> None:
        """From the reasons to their documents; there, the document in full."""
        if self.query_one("#reasons Lines", Lines).has_focus:
            self.set_focus(self.query_one("#rejected Lines", Lines))
        elif self.document is not None and self.group is not None:
            text = _document_text(self.group, self.document, self._policy_line(self.group), self._mode)
            self.app.push_screen(Sheet("Rejected document", text, "the document", self.copy_key))

    async def action_verify(self) -> None:
        """The run on the Verify screen."""
        if self.report is not None:
            await self.cockpit.navigation.show_verification(self.report.run_id)

    @work(group="export", exclusive=True)
    async def action_export(self) -> None:
        """Ask for a file's name, and write the run's report."""
        if self.report is None:
            return
        run_id = self.report.run_id
        try:
            recording = await self.cockpit.answers.ask(Recording, Replay(run=run_id, max_frames=1))
        except MigrationError as error:
            self.cockpit.say_problem(error.message)
            return
        offer_export(
            self.app,
            report_of(recording.frames[-1], goes_on=goes_on(self.cockpit.answers.as_known(recording.run))),
            lambda: self.cockpit.answers.ask(RunReport, MakeReport(run=run_id)),
        )

    async def action_leave(self) -> None:
        """From the documents to the reasons; there, to the screen before."""
        reasons = self.query_one("#reasons Lines", Lines)
        if not reasons.has_focus and self.report is not None and self.report.groups:
            self.set_focus(reasons)
        else:
            await self.cockpit.navigation.show(self._back)

    def action_policy(self) -> None:
        """Choose the policy under which the documents of the reason are retried."""
        group = self.group
        if group is None:
            return
        if not group.policy:
            self.cockpit.say_problem(f"No policy takes these documents: {reason_words(group.reason, self._mode)[1]}")
            return
        reason = Reason.of(group)

        def chosen(answer: str | None) -> None:
            if answer is not None:
                self.chosen_policies.pop(reason, None)
                if answer != group.in_force:
                    self.chosen_policies[reason] = answer
                self._said = ""
                self._draw_reasons()

        names = [*group.takes, "reject"]
        notes = [choice_words(group.policy, name) + (" (now)" if name == group.in_force else "") for name in names]
        labels = [policy_value(name) for name in names]

        def picked(label: str | None) -> None:
            chosen(names[labels.index(label)] if label is not None else None)

        self.app.push_screen(ChoosingDialog(f"Policy {group.policy} for these documents", labels, notes), picked)

    def action_retry(self) -> None:
        """Retry the documents of the reason under the cursor; asks first."""
        if self.group is not None:
            self._offer([self.group])

    def action_retry_all(self) -> None:
        """Retry all of them; asks first."""
        if self.report is not None and self.report.groups:
            self._offer(self.report.groups)

    def _offer(self, groups: Sequence[RejectGroup]) -> None:
        """Ask, with the reasons and the policies in force."""
        effects = [
            f"{number(group.count)} × {safe(group.reason, 40)} in {safe(group.namespace, 60)}"
            f"{f' · {safe(group.field, 60)}' if group.field else ''}: {self._policy_line(group)}"
            for group in groups[:12]
        ]
        effects += [f"… and {counted(len(groups) - 12, 'more reason')}"] if len(groups) > 12 else []
        may_help = [group for group in groups if can_change(group, self.chosen_policies.get(Reason.of(group), ""))]
        policy = self.cockpit.keymap.first("rejects.policy")
        if not may_help:
            effects += ["", f"These policies reject the documents again: choose others with {policy}."]
        elif len(may_help) < len(groups):
            effects += ["", f"Unchanged policies reject {number(len(groups) - len(may_help))} of the reasons again."]
        effects += ["", "The row is inserted and the reject removed in one transaction."]
        title = "Retry rejected documents?" if may_help else "This retry can change nothing"

        def answered(answer: str | None) -> None:
            if answer == "go" and not self._doing and self.report is not None:
                self._doing = "retry"
                self.cockpit.leaving.would_cut_off = (
                    "Rejected documents are being retried. Those written so far stay; the rest stay rejects."
                )
                self._draw_head()
                self.cockpit.situation_changed()
                self._retry(self.report.run_id, list(groups))

        go = "Retry" if may_help else "Retry anyway"
        self.app.push_screen(confirm(title, effects, go=go, is_harmless=bool(may_help)), answered)

    @work(group="retry")
    async def _retry(self, run_id: str, groups: list[RejectGroup]) -> None:
        """One question for all reasons with the same policies."""
        by_policy: dict[tuple[tuple[str, str], ...], list[RejectChoice]] = {}
        for group in groups:
            choice = self.chosen_policies.get(Reason.of(group))
            policies: tuple[tuple[str, str], ...] = ((group.policy, choice),) if choice else ()
            by_policy.setdefault(policies, []).append(Reason.of(group).choice)
        tried = written = already_there = 0
        left: int | None = None
        try:
            for policies, only in by_policy.items():
                command = RetryRejects(run=run_id, only=only, policies=dict(policies), keeps_policies=True)
                done = await self.cockpit.answers.ask(RetryReport, command)
                tried, written, left = tried + done.tried, written + done.written, done.left
                already_there += done.already_there
        except MigrationError as error:
            self.app.push_screen(error_dialog("The documents were not retried", error.message))
        finally:
            self._doing = self.cockpit.leaving.would_cut_off = ""
        if left is not None:
            there = f", {number(already_there)} already in the table" if already_there else ""
            self._said = f"Retried {number(tried)}: {number(written)} written{there}, {number(left)} still rejected."
        await self._recount(run_id)
        self._forget_documents()
        self._load()

    async def _recount(self, run_id: str) -> None:
        """The run on the Run screen follows, if it is this one."""
        session = self.cockpit.runs.session
        if session is not None and session.snapshot.run_id == run_id:
            await session.recount()

    # --- asking ---

    def _load(self) -> None:
        session = self.cockpit.runs.session
        self._known = session.snapshot.rejected if session is not None else 0
        self._loading = self._load_reasons()

    @work(group="rejects", exclusive=True)
    async def _load_reasons(self) -> None:
        """The reasons; the cursor stays on its own."""
        self._draw_head()
        asked_at = time.monotonic()
        try:
            report = await self.cockpit.answers.ask(RejectsReport, ListRejects(run=self.run_id))
        except MigrationError as error:
            self._say(Content.styled(f"! {safe(error.message, 600)}", "$error"))
            return
        finally:
            self._rests_until = time.monotonic() + RESTS * (time.monotonic() - asked_at)
        group = self.group
        self.report = report
        known = {Reason.of(group) for group in report.groups}
        self.chosen_policies = {reason: choice for reason, choice in self.chosen_policies.items() if reason in known}
        self._draw_reasons(Reason.of(group) if group is not None else None)

    def _read_documents(self, reason: Reason, after: str = "") -> None:
        """Ask for a page of the reason's documents, or for those that are shown again, because there are others now."""
        self._loaded_of = self.group.count if self.group is not None else 0
        self._reading = self._load_documents(reason, after, 0 if after else len(self._documents))

    @work(group="documents", exclusive=True)
    async def _load_documents(self, reason: Reason, after: str, least: int) -> None:
        """Pages of the reason's documents; `after` is empty for the first, `least` 0 where one of them will do."""
        if not after and not least:
            await asyncio.sleep(SETTLES_S)
        run = self.report.run_id if self.report is not None else self.run_id
        found = self._documents if after else []
        while True:
            command = ListRejected(
                run=run, only=reason.choice, after=after, limit=PAGE, documents=True, most_chars=MOST_CHARS
            )
            try:
                page = await self.cockpit.answers.ask(RejectedPage, command)
            except MigrationError as error:
                self._say(Content.styled(f"! {safe(error.message, 600)}", "$error"))
                return
            found = [*found, *page.documents]
            after = page.following if page.documents else ""
            if not after or len(found) >= least:
                break
        document = self.document
        self._documents, self._following = found, after
        self._draw_documents(from_start=not least and document is None)
        if document in found:
            self.query_one("#rejected", Listing).go_to(found.index(document))
        self._reading = None
        self._moved()

    def _forget_documents(self) -> None:
        self._documents, self._following, self._loaded = [], "", None
        self._draw_documents(from_start=True)

    # --- drawing ---

    def _say(self, words: Content) -> None:
        self.query_one("#rejects-head", Static).update(words)

    def _draw_head(self) -> None:
        if self._doing == "retry":
            self._say(Content("◐ retrying rejected documents…"))
        elif self.report is None:
            self._say(Content.styled("◌ reading the rejects…", MUTED))
        else:
            run, total = safe(self.report.run_id, 40), self.report.total
            counts = (
                (counted(total, "rejected document"), "bold $warning") if total else ("✓ no rejects", "bold $success")
            )
            keys = self.cockpit.keymap.first
            hint = self._hint(keys) if total else self._next_steps(keys)
            lines = [Content.assemble(counts, f"  run {run}"), Content(self._said), Content.styled(hint, MUTED)]
            self._say(Content("\n").join(line for line in lines if line))

    def _hint(self, key: Callable[[str], str]) -> str:
        """What to do next: choose a policy, or retry under the one that was chosen."""
        group = self.group
        chosen = self.chosen_policies.get(Reason.of(group)) if group is not None else None
        if not self.cockpit.situation.is_free:
            policy = "choose the policy" if chosen is None else "another policy"
            return f"{key('rejects.policy')}: {policy} · they can be retried when the run is over"
        if group is None or chosen is None:
            return f"{key('rejects.policy')}: choose the policy · {key('rejects.retry')}: retry this reason"
        words = f"{key('rejects.retry')}: retry these with {policy_value(chosen)}"
        others = f" · {key('rejects.retry_all')}: retry all reasons" if len(self.chosen_policies) > 1 else ""
        return f"{words}{others} · {key('rejects.policy')}: another policy"

    def _next_steps(self, key: Callable[[str], str]) -> str:
        """What comes next when nothing is left to retry: the rows that were written are compared with nothing yet."""
        return (
            f"{key('rejects.verify')}, {key('verify.full')}: compare every document with its row · "
            f"{key('rejects.export')}: export the report · {key('rejects.leave')}: back"
        )

    def _draw_reasons(self, cursor: Reason | None = None) -> None:
        """The list; the cursor goes to this reason, if it is there."""
        groups = self.report.groups if self.report is not None else []
        self.query_one("#reasons", Listing).fill(
            [
                [
                    safe(group.namespace, 120),
                    safe(group.field, 120) or Content.styled("whole document", MUTED),
                    safe(group.reason, 60),
                    number(group.count),
                    self._policy_cell(group),
                ]
                for group in groups
            ]
        )
        reasons = [Reason.of(group) for group in groups]
        if cursor in reasons:
            self.query_one("#reasons", Listing).go_to(reasons.index(cursor))
        self._draw_head()
        if not groups:
            self._forget_documents()
        self._moved()
        self.cockpit.situation_changed()

    def _policy_cell(self, group: RejectGroup) -> Content:
        if not group.policy:
            return Content.styled("–", MUTED)
        choice = self.chosen_policies.get(Reason.of(group))
        in_force = policy_value(group.in_force)
        words = f"{group.policy} {in_force}" if len(group.policy) < 9 else in_force
        return Content.assemble(words, (f" → {policy_value(choice)}", "bold $success") if choice else "")

    def _policy_line(self, group: RejectGroup) -> str:
        return policy_words(group, self.chosen_policies.get(Reason.of(group), ""))

    @on(Listing.Moved)
    def _moved(self) -> None:
        """Another reason: its documents; another document: itself; the last one: the next page."""
        group = self.group
        if group is None:
            return
        reason = Reason.of(group)
        if reason != self._loaded:
            self._documents, self._following, self._loaded = [], "", reason
            self._draw_documents(from_start=True)
            self._read_documents(reason)
            self._draw_head()
            self.refresh_bindings()
            return
        if _is_over(self._reading):
            index = self.query_one("#rejected", Listing).index
            if group.count != self._loaded_of:
                self._draw_documents(from_start=False)
                self._loaded_of = group.count
                # Further pages are asked for when the cursor comes to them, with all that is in them then.
                if len(self._documents) < PAGE or not self._following or group.count < len(self._documents):
                    self._read_documents(reason)
            elif index is not None and index >= len(self._documents) - 1 and self._following:
                following, self._following = self._following, ""
                self._read_documents(reason, following)
        self._draw_document()

    def _draw_documents(self, *, from_start: bool) -> None:
        listing = self.query_one("#rejected", Listing)
        lines = listing.query_one(Lines)
        if from_start:
            lines.highlighted = None
        total = self.group.count if self.group is not None else 0
        shown = self._documents[:total]  # one that has come since they were counted is shown once it is counted
        listing.fill([[short_id(each.id) or Content.styled("no _id", MUTED)] for each in shown])
        among = f" 1–{number(len(shown))} of {number(total)}" if shown else ""
        listing.border_title = Content(f"Documents{among}")
        self._draw_document()

    def _draw_document(self) -> None:
        group, document = self.group, self.document
        text = Content.empty()
        if group is not None and document is not None:
            takers = "" if self.chosen_policies.get(Reason.of(group)) else takers_words(group)
            policy = "; ".join(filter(None, (self._policy_line(group), takers)))
            text = _document_text(group, document, policy, self._mode)
        elif group is not None:
            text = Content.styled("reading the documents…", MUTED)
        self.query_one("#document-text", Static).update(text)


def _is_over(worker: Worker[None] | None) -> bool:
    return worker is None or worker.is_finished


def _document_text(group: RejectGroup, document: RejectedDocument, policy: str, mode: str) -> Content:
    """Why it is a reject, what would take it, and the document, the field at fault marked."""
    meaning, advice = meaning_words(document), reason_words(group.reason, mode)[1]
    where = f" in {safe(document.field, 120)}" if document.field else ""
    state = f", SQLSTATE {safe(document.sqlstate, 5)}" if document.sqlstate else ""
    lines = [
        Content.assemble(("_id ", MUTED), (safe(short_id(document.id), 400), "bold")),
        Content.assemble(
            (f"{safe(group.reason, 60)}{where}{state}", "bold $warning"), f": {meaning}" if meaning else ""
        ),
    ]
    if detail := detail_words(document):
        lines.append(Content(detail))
    lines.append(Content.styled(policy if group.policy else advice, MUTED))
    lines.append(Content(""))
    for line, is_at_fault in document_lines(document):
        lines.append(Content.styled(line, "bold $warning") if is_at_fault else Content(line))
    if document.is_cut:
        lines.append(
            Content.styled(f"… {counted(document.size, 'byte')} of BSON in all; the command line has all of it", MUTED)
        )
    return Content("\n").join(lines)
