"""The question before something is started, and the start when the answer is yes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from engine.config import Settings
from engine.errors import MigrationError, UsageError
from engine.knobs import Knob, KnobValue
from engine.protocol import PreflightReport, Start
from tui.cockpit.consequences import StartFacts
from tui.cockpit.dialogs.knobs import KnobsDialog, knobs_of
from tui.cockpit.dialogs.questions import Answer, confirm, error_dialog
from tui.cockpit.dialogs.starting import FOLLOW, KNOBS, StartDialog
from tui.cockpit.keymap import Keymap
from tui.cockpit.planning import preflight_command
from tui.cockpit.screens.base import CockpitScreen
from tui.words.census import with_keys

Otherwise = tuple[Answer, Callable[[], None]]
"""An answer besides yes and no, and what it does."""


def offer_start(
    screen: CockpitScreen,
    effects_of: Callable[[Settings], Sequence[str]],
    title: str,
    go: str,
    start: Start,
    otherwise: Otherwise | None = None,
    meant: Callable[[Settings], Settings] = lambda settings: settings,
) -> None:
    """Say what would happen with the settings as they are on Setup, or why it cannot, and do it on a yes.

    Args:
        effects_of: what would happen, in lines.
        go: the label of the yes.
        otherwise: another answer, and what it does.
        meant: what the settings are for this start.
    """
    cockpit = screen.cockpit
    try:
        settings = meant(cockpit.choices.edited)
        will_happen = effects_of(settings)
    except UsageError as error:
        screen.app.push_screen(error_dialog("Not yet", error.message))
        return

    def answered(answer: str | None) -> None:
        if answer == "go":
            cockpit.orders.start(settings, start)
        elif otherwise is not None and answer == otherwise[0].id:
            otherwise[1]()

    others = [otherwise[0]] if otherwise is not None else []
    screen.app.push_screen(confirm(title, will_happen, go=go, others=others), answered)


def offer_run(
    screen: CockpitScreen,
    facts_of: Callable[[Settings], StartFacts],
    title: str,
    start: Start,
    otherwise: Otherwise | None = None,
) -> None:
    """Say from where to where, what becomes of each table and what preflight finds, and copy on a yes.

    Args:
        facts_of: what is to be copied.
        otherwise: another answer, and what it does.
    """
    cockpit = screen.cockpit
    try:
        settings = cockpit.choices.edited
        facts = _with_keys(facts_of(settings), cockpit.keymap)
    except UsageError as error:
        screen.app.push_screen(error_dialog("Not yet", error.message))
        return

    def turned(values: Mapping[Knob, KnobValue] | None) -> None:
        if (setup := cockpit.choices.setup) is not None:
            for knob, value in (values or {}).items():
                setup.fill_knob(knob, value)
        offer_run(screen, facts_of, title, start, otherwise)

    others = [otherwise[0]] if otherwise is not None else []
    dialog = StartDialog(title, facts, others, copy_key=screen.copy_key)

    def answered(answer: str | None) -> None:
        if answer == KNOBS:
            screen.app.push_screen(
                KnobsDialog(knobs_of(settings), is_on_one_host=settings.cluster.kind == "local"), turned
            )
        elif answer in ("go", FOLLOW):
            cockpit.orders.start(settings, start.model_copy(update={"follow": answer == FOLLOW}))
        elif otherwise is not None and answer == otherwise[0].id:
            otherwise[1]()

    async def look() -> None:
        try:
            session = await cockpit.answers.engine()
            dialog.found(await session.client.ask(PreflightReport, preflight_command(settings, start, session)))
        except MigrationError as error:
            dialog.not_found(error.message)

    screen.app.push_screen(dialog, answered)
    screen.app.run_worker(look(), group="preflight", exclusive=True)


def _with_keys(facts: StartFacts, keymap: Keymap) -> StartFacts:
    """With the keys of Plan in the plan's warnings."""
    edit, exclude = (f"{keymap.first(command)} on Plan" for command in ("plan.edit", "plan.ignore"))
    return replace(
        facts, plan_warnings=tuple(with_keys(each, edit=edit, exclude=exclude) for each in facts.plan_warnings)
    )
