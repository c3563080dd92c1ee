"""What `--json` prints, for the reference: the fields of real records, described where the protocol defines them."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from engine.cluster.meter import Meter
from engine.errors import ConnectError
from engine.protocol import (
    EVENT_CLASSES,
    VOCABULARY,
    Event,
    FinishedTable,
    FollowedFacts,
    FollowView,
    GuardsView,
    HostView,
    RunFinished,
    RunState,
    Snapshot,
    TuningView,
    VitalsView,
    WorkerState,
    WorkerView,
    plans,
    records,
    reports,
)
from engine.protocol.events import Part
from engine.run.final_event import outcome
from engine.run.record import RunRecord, TableCounters
from tests.docs.markdown import one_line, spelled, table, texts_below
from tui.cli.json_lines import finished_record, progress_record, status_record

HEADINGS = ["field", "type", "what it is"]
FACTS = ["fact", *HEADINGS[1:]]
PROGRESS = {
    "event": '`"progress"`.',
    "workers": "Those alive, one object each (below).",
    "tuning": 'While the run turns the cluster size itself: `auto` (`"auto"`, `"auto:4-16"`), `stable` (the number of workers '
    "that is kept), `probing` (the one that is tried, or null), `reason` (of the last decision).",
    "vitals": "What the servers are doing (below), while the run goes on.",
    "guards": "What is done for their sake (below), likewise.",
    "follow": "Of a run that follows its source: how far it is with that (below). Left out of others.",
    "ready": "Of such a run: whether it can be cut over, as in `follow`.",
}
STATUS = PROGRESS | {"event": '`"status"`.'}
FINISHED = {
    "event": '`"finished"`.',
    "run_id": "Such as `20261123-1402-k3f9`; null of a run that could not start.",
}
ANSWERS: Mapping[str, type[BaseModel]] = {
    "plan --json": plans.PlanView,
    "verify --json": reports.VerifyReport,
    "rejects --json": reports.RejectsReport,
    "rejects --json, a line for each document": reports.RejectedDocument,
    "rejects --retry --json": reports.RetryReport,
    "runs --json": records.RunInfo,
}
"""Commands, and the model of what they print; `runs` prints `{"runs": [...]}` of it."""


def progress_section() -> str:
    """A progress line."""
    return table(HEADINGS, rows(progress_record(snapshot()), PROGRESS, Snapshot))


def worker_section() -> str:
    """One of its workers."""
    (worker,) = progress_record(snapshot())["workers"]
    return table(HEADINGS, rows(worker, {}, WorkerView))


def vitals_section() -> str:
    """What the servers are doing."""
    return objects_section(VitalsView)


def guards_section() -> str:
    """What guards see and do."""
    return objects_section(GuardsView)


def objects_section(first: type[BaseModel]) -> str:
    """A model, then those that it is made of."""
    parts = []
    models: list[type[BaseModel]] = [first, *dict.fromkeys(models_below(first))]
    for model in models:
        if model is not first:
            parts.append(f"**{object_words(model)}**: {one_line(model.__doc__)}")
        parts.append(table(HEADINGS, model_rows(model)))
    return "\n\n".join(parts)


def follow_section() -> str:
    """How far a run is with following its source."""
    parts = [table(HEADINGS, model_rows(FollowView))]
    for model in dict.fromkeys(models_below(FollowView)):
        parts += [f"**{object_words(model)}**: {one_line(model.__doc__)}", table(HEADINGS, model_rows(model))]
    return "\n\n".join(parts)


def finished_section() -> str:
    """The last line."""
    followed = [
        f"**{object_words(FollowedFacts)}**: {one_line(FollowedFacts.__doc__)}",
        table(HEADINGS, model_rows(FollowedFacts)),
    ]
    return "\n\n".join([table(HEADINGS, rows(finished(), FINISHED, RunFinished)), *followed])


def table_section() -> str:
    """One of its tables."""
    (counts,) = finished()["tables"].values()
    return table(HEADINGS, rows(counts, {}, FinishedTable))


def status_section() -> str:
    """What `ctl --json` has beyond a progress line."""
    more = {name: value for name, value in status_record(snapshot()).items() if name not in progress_record(snapshot())}
    return table(HEADINGS, rows(more, STATUS, Snapshot))


def states_section() -> str:
    """The words for states."""
    words: Iterable[tuple[str, type[StrEnum]]] = (("of a run", RunState), ("of a worker", WorkerState))
    return table(["states", "words"], ([name, ", ".join(f"`{word}`" for word in states)] for name, states in words))


def answers_section() -> str:
    """What the commands print that answer a question."""
    parts, told = [], set[type[BaseModel]]()
    for command, answer in ANSWERS.items():
        shown = f"`mongopg-tui {command}`"
        parts.append(f"### {shown}\n\n{one_line(answer.__doc__)}")
        parts.append(table(HEADINGS, model_rows(answer)))
        for below in models_below(answer):
            if below not in told:
                told.add(below)
                parts.append(f"**{object_words(below)}**: {one_line(below.__doc__)}")
                parts.append(table(HEADINGS, model_rows(below)))
    return "\n\n".join(parts)


def events_section() -> str:
    """Every kind of event: the docstring of its class, and its facts."""
    parts, told = [], set[type[BaseModel]]()
    for kind in EVENT_CLASSES:
        parts.append(f"**`{kind.model_fields['kind'].default}`**: {one_line(kind.__doc__)}")
        if kind is RunFinished:  # has a page of its own
            continue
        parts.append(table(FACTS, fact_rows(kind)))
        for below in models_below(kind):
            if below not in told and issubclass(below, Part):
                told.add(below)
                parts.append(f"**{object_words(below)}**: {one_line(below.__doc__)}")
                parts.append(table(HEADINGS, model_rows(below)))
    return "\n\n".join([f"This is version {VOCABULARY} of the events.", *parts])


# --- samples: what the program makes of nothing in particular ---------------------------------------------------------


def snapshot() -> Snapshot:
    """Of a run with one worker."""
    worker = WorkerView(id=1, pid=1, state=WorkerState.READING, host="b")
    return Snapshot(
        run_id="",
        state=RunState.RUNNING,
        phase="",
        workers=[worker],
        hosts=[HostView(name="b")],
        hosts_wanted=2,
        eta_s=0.0,
        vitals=VitalsView(),
        tuning=TuningView(auto="auto", stable=1),
        guards=GuardsView(),
        follow=FollowView(phase="following"),
    )


def finished() -> dict[str, Any]:
    """Of a run with one table and indexes that failed in the end."""
    counters = TableCounters("", "public.users", 0, ok=True, indexes_failed=1)
    record = RunRecord("", tables={0: counters}, snapshot_unix=1.0, followed=FollowedFacts())
    error = ConnectError("")
    event = outcome(
        record, RunState.FAILED, error, error.exit_code, Meter(), seconds=1.0, written_before=0, seconds_before=0.0
    )
    return finished_record(event.facts)


# --- rows -------------------------------------------------------------------------------------------------------------


def rows(record: Mapping[str, Any], texts: Mapping[str, str], model: type[BaseModel]) -> Iterator[list[str]]:
    """The fields of a record; a field of another meaning than the model's has its own text."""
    described = {**texts_below(model), **texts}
    for name, value in record.items():
        assert name in described, f"{name} of --json needs a docstring in {model.__name__}, or a text in {__name__}"
        info = model.model_fields.get(name)
        is_typed = info is not None and name not in texts and not any(models_in(info.annotation))
        shown = type_words(info.annotation) if info is not None and is_typed else value_words(value)
        yield [f"`{name}`", shown, as_json(described[name])]


def model_rows(model: type[BaseModel]) -> Iterator[list[str]]:
    texts = texts_below(model)
    for name, info in model.model_fields.items():
        yield [f"`{name}`", type_words(info.annotation), as_json(texts.get(name, ""))]


def fact_rows(kind: type[Event]) -> Iterator[list[str]]:
    texts = texts_below(kind)
    for name, info in kind.model_fields.items():
        if name not in Event.model_fields:
            assert name in texts, f"{kind.__name__}.{name} needs a docstring"
            yield [f"`{kind.names.get(name, name)}`", type_words(info.annotation), as_json(texts[name])]


def as_json(text: str) -> str:
    """A docstring in JSON's words."""
    return re.sub(r"\bNone\b", "null", re.sub(r"\bTrue\b", "true", re.sub(r"\bFalse\b", "false", text)))


def models_below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The models that its fields hold, depth first."""
    for info in model.model_fields.values():
        for kind in models_in(info.annotation):
            yield kind
            yield from models_below(kind)


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    for kind in (annotation, *typing.get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield kind


JSON_WORDS: Mapping[Any, str] = {
    str: "text", int: "integer", float: "number", bool: "true or false", dict: "object", list: "list", type(None): "null",
}  # fmt: skip


def value_words(value: object) -> str:
    return JSON_WORDS[type(value)]


def type_words(kind: Any) -> str:
    """A type as JSON has it."""
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is list:
        of = type_words(arguments[0])
        return f"list of {of}s" if of.endswith(" object") else f"list of {of}"
    if typing.get_origin(kind) is dict:
        return f"object of {type_words(arguments[1])}"
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(f"`{spelled(word)}`" for word in arguments)
    if arguments:
        return " or ".join(map(type_words, arguments))
    if kind in JSON_WORDS:
        return JSON_WORDS[kind]
    return f"{object_words(kind)} object" if issubclass(kind, BaseModel) else "text"


def object_words(model: type[BaseModel]) -> str:
    """What a kind of object is called for those who never see its class: `PreviewRowView` is "preview row"."""
    name = re.sub(r"(View|Info)$", "", model.__name__)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
