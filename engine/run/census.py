"""A full census at the beginning of a run, by its cluster; and censuses that are kept for the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Sequence

from engine.cluster.job import JobOwner
from engine.config import Settings
from engine.mapping.census import Census
from engine.mongo import connect as mongo
from engine.mongo.partition import KeySamples
from engine.mongo.reader import Range
from engine.plan import FIRST_TASK_ID, Choice, cut, facts_of, find_ends, parts_of
from engine.plan.order import cut_records
from engine.protocol import CensusFinished, CensusStarted, CountingView, RunState
from engine.run.census_job import LEVELS_BELOW, CensusJob, census_job
from engine.run.context import RunContext


class KnownCensuses:
    """Censuses of an engine's source, kept for the next edit of a plan and for the run that follows it."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str, bytes, int, int], Census] = {}

    def find(self, settings: Settings, choices: Sequence[Choice]) -> dict[int, Census]:
        """What is known of these collections, by task."""
        found = {task_id: self._kept.get(_key(settings, each)) for task_id, each in enumerate(choices, FIRST_TASK_ID)}
        return {task_id: census for task_id, census in found.items() if census is not None}

    def keep(self, settings: Settings, choices: Sequence[Choice], censuses: dict[int, Census]) -> None:
        """Know these from now on."""
        for task_id, census in censuses.items():
            self._kept[_key(settings, choices[task_id - FIRST_TASK_ID])] = census


def _key(settings: Settings, choice: Choice) -> tuple[str, str, bytes, int, int]:
    """What a census depends on."""
    uri, options = settings.source.connection, settings.mapping
    return uri, choice.namespace, choice.query, settings.run.limit, options.flatten


class RunCensus:
    """The census of a run, before its plan is made."""

    def __init__(self, context: RunContext, known: KnownCensuses) -> None:
        """Nothing is counted yet.

        Args:
            known: what was counted before.
        """
        self._context = context
        self._known = known
        self._job = CensusJob(0, context)

    def view(self) -> CountingView | None:
        """How far it is; None when there is nothing to count."""
        return None if self._job.is_finished else self._job.view()

    async def count(self, client: mongo.Client, choices: Sequence[Choice], *, is_seeded: bool) -> dict[int, Census]:
        """Full censuses of the collections whose columns are not given, by task.

        Args:
            is_seeded: documents were seeded since what is known was counted.

        Raises:
            Cancelled: so asked. MigrationError: whatever else makes the run fail.
        """
        context, settings = self._context, self._context.settings
        known = {} if is_seeded else self._known.find(settings, choices)
        wanted = [
            (task_id, choice)
            for task_id, choice in enumerate(choices, FIRST_TASK_ID)
            if task_id not in known and (choice.saved is None or choice.saved.columns is None)
        ]
        if not wanted:
            return known
        size = context.record.knobs["cluster_size"]

        job = await asyncio.to_thread(job_for, client, settings, choices, wanted, size, context)
        self._job = job
        context.enter(RunState.STARTING, "counting fields")
        context.emit(CensusStarted(collections=job.collections, total=job.total))
        context.cluster.put_first(job)
        context.cluster.dispatch()
        await context.until(lambda: job.is_finished)
        if job.lost_numberings:
            tasks = job.lost_numberings
            again = await asyncio.to_thread(ranges_by_id, client, settings, choices, tasks, size)
            job.begin_again(again)
            context.cluster.forget_tasks()
            context.cluster.dispatch()
            await context.until(lambda: job.is_finished)
        context.emit(CensusFinished(collections=job.collections, documents=job.seen))
        context.enter(RunState.STARTING, "planning")
        return known | job.results()


def job_for(
    client: mongo.Client,
    settings: Settings,
    choices: Sequence[Choice],
    wanted: Sequence[tuple[int, Choice]],
    workers: int,
    owner: JobOwner,
) -> CensusJob:
    """The census of those that are wanted of all choices. Blocks.

    Args:
        workers: that the collections are cut for.
        owner: is told what goes wrong.
    """
    known, samples = facts_of(client, choices), KeySamples()
    natural, others = cut_records(client, settings, dict(wanted), workers, samples, facts_known=known)
    ends = find_ends(client, settings, choices, facts_known=known)
    ranges = cut(client, settings, choices, ends, workers, known, samples, only=others)
    parts = parts_of(client, settings, choices, known)
    return census_job(settings.mapping.flatten + LEVELS_BELOW, owner, wanted, parts, ranges, natural)


def ranges_by_id(
    client: mongo.Client, settings: Settings, choices: Sequence[Choice], tasks: Container[int], workers: int
) -> dict[int, list[Range]]:
    """The ranges of `_id` of some of the choices, by task. Blocks."""
    ranges: dict[int, list[Range]] = {}
    for task_id, span in cut(client, settings, choices, {}, workers, only=tasks):
        ranges.setdefault(task_id, []).append(span)
    return ranges
