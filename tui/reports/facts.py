"""What a report says of the run as a whole, section by section, as words: the same in Markdown and HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from engine.protocol import (
    CutOverFacts,
    FollowedReport,
    ReportedTable,
    RetriedReason,
    RunReport,
    TableCounts,
    VerifyReport,
    WorkedTime,
    policies_for,
)
from tui.words.comparisons import of_report
from tui.words.format import NO_NUMBER, counted, duration, moment, number, rate
from tui.words.rejects import policy_value, reason_words
from tui.words.replaced import replaced_table_words, replaced_words
from tui.words.run_status import overall_rate, rates_words, result_word, verification_words
from tui.words.sentences import altered_meaning

COUNTS = ("source", "read", "written", "rejected", "target")
FULL = ("equal", "different", "missing", "extra", "kept")
_KINDS = {"insert": "inserted", "update": "updated", "replace": "replaced", "delete": "deleted"}
_NAMED = 12
"""Columns that are named in a cell, at most."""
_ENDS = 4
"""Values of a knob that are listed from its beginning, and from its end."""
KNOBS = {"cluster_size": "Workers", "page_size": "Page size", "throttle": "Throttle"}


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and a table. Cells are foreign text: each format makes them harmless when it writes them."""

    title: str
    headings: tuple[str, ...]
    rows: list[list[str]]
    right: frozenset[int] = frozenset()
    """Columns of numbers."""


def title(report: VerifyReport, run: RunReport | None) -> str:
    """What the report is."""
    return f"Migration report, run {report.run_id}" if run is not None else f"Verification of run {report.run_id}"


def result(report: VerifyReport) -> str:
    """`counts match, 132 rejected`."""
    rejected = sum(table.rejected for table in report.tables)
    return verification_words(report.result.value, report.verification_level, rejected, replaced=report.replaced_since)


def facts(report: VerifyReport, run: RunReport | None) -> list[tuple[str, str]]:
    """Names and values, those that are not known left out."""
    read, written, rejected = (sum(getattr(table, name) for table in report.tables) for name in COUNTS[1:4])
    sign = "=" if read == written + rejected else "≠"
    counts = f"{number(read)} read {sign} {number(written)} written + {number(rejected)} rejected"
    checked = ("Verification", result(report) + _how(report, run))
    replaced = ("Tables since", replaced_words(report.replaced_since))
    if run is None:
        return [each for each in (("Documents", counts), checked, replaced) if each[1]]
    info = run.run
    found = [
        ("Result", f"{info.state}, {result(report)}"),
        ("Report made", f"{moment(run.made_unix)} by {run.made_by}, mongopg-tui {run.made_with}"),
        ("Run", info.run_id),
        ("Started", moment(_began(run)) + (f" by {by}" if (by := _first_by(run)) else "")),
        ("Ended", moment(info.ended_unix) if info.ended_unix is not None else "it has not ended"),
        ("Stopped and resumed", "; ".join(_stops(run.times))),
        ("Duration", _duration_words(run)),
        ("Program", f"mongopg-tui {run.program}" if run.program else ""),
        ("Source", _source(run) + (f" (MongoDB {run.source_version})" if run.source_version else "")),
        ("Target", info.target + (f" (PostgreSQL {run.target_version})" if run.target_version else "")),
        ("Mode", info.mode),
        ("Consistency", f"all documents as of {moment(run.snapshot_unix)}" if run.snapshot_unix else run.consistency),
        ("Error", run.error),
        *_cut_over(run.cut_over),
        ("Documents", counts),
        ("Rate", rates_words(overall_rate(info), info.rows_per_s_copying)),
        checked,
        replaced,
        ("Compared", "; ".join(_compared(run))),
        ("Followed", followed_words(run.followed) if run.followed is not None else ""),
        ("Since then", _since(run)),
        ("Plan fingerprint", f"sha256 {run.plan_sha256}"),
        (
            "Policies",
            ", ".join(_policy(name, str(run.options[name])) for name in POLICIES if name in run.options),
        ),
        *((words, _values(name, run.knobs.get(name, []))) for name, words in KNOBS.items()),
    ]
    return [(name, value) for name, value in found if value]


def _policy(name: str, value: str) -> str:
    """As the screens call it, and as the plan does where that is another word."""
    words = policy_value(value)
    return f"{name} {words}" + (f' ("{value}" in the plan)' if words == "_extra" else "")


def _source(run: RunReport) -> str:
    """`db1:27017, database shop`: the ledger has the hosts alone."""
    databases = sorted({namespace.partition(".")[0] for namespace in run.run.collections})
    if not databases or run.run.source.endswith(f"/{databases[0]}"):
        return run.run.source
    return f"{run.run.source}, database{'s' * (len(databases) > 1)} {', '.join(databases)}"


def _began(run: RunReport) -> float:
    """When it was accepted; the ledger has when it was planned."""
    return run.times[0].began_unix if run.times else run.run.started_unix


def _first_by(run: RunReport) -> str:
    return run.times[0].by if run.times else run.started_by


def _stops(times: Sequence[WorkedTime]) -> list[str]:
    """`stopped at 14:02:11 by cockpit of ann@db1, resumed at 16:40:00, 2h 37m later`, for each time but the last."""
    words = []
    for each, following in pairwise(times):
        how = {"cancelled": "stopped", "failed": "failed", "completed": "completed"}.get(each.state, "")
        if each.ended_unix is None or not how:
            words.append(f"the engine was lost, resumed at {moment(following.began_unix)}")
            continue
        by = f" by {each.stopped_by}" if each.stopped_by else ""
        gap = duration(max(0.0, following.began_unix - each.ended_unix))
        words.append(f"{how} at {moment(each.ended_unix)}{by}, resumed at {moment(following.began_unix)}, {gap} later")
    return words


def _duration_words(run: RunReport) -> str:
    info = run.run
    words = f"{duration(info.seconds)} ({info.seconds:,.1f} s that engines worked on it)"
    if len(run.times) < 2 or info.ended_unix is None:
        return words
    return f"{words}, in {len(run.times)} times; {duration(max(0.0, info.ended_unix - _began(run)))} from start to end"


POLICIES = ("nul", "utf8", "date_range", "overflow")


def sections(report: VerifyReport, run: RunReport | None) -> list[Section]:
    """The tables of the report, those that are empty left out."""
    found = [_tables(report)]
    if run is not None:
        found += [_altered(report, run), _rejects(run), _retries(run), *map(_mapping, run.tables), _excluded(run)]
    found += [_differences(report), _less_strict(report)]
    return [section for section in found if section.rows]


def counts_of(report: VerifyReport) -> tuple[str, ...]:
    """The counts that a report has of each table."""
    return COUNTS + FULL if any(table.level == "full" for table in report.tables) else COUNTS


def _how(report: VerifyReport, run: RunReport | None) -> str:
    last = of_report(run.compared, run.retried) if run is not None else None
    if last is not None and last.is_outdated and last.last is not None:
        before = verification_words(last.last.result, last.last.level)
        return f": {before} before a retry of rejects; of the rows that it wrote, only the counts were compared"
    full = sum(table.level == "full" for table in report.tables)
    if report.verification_level == "full":
        return ": every document was compared with its row"
    if full:
        were = "was" if full == 1 else "were"
        return f": {full} of {counted(len(report.tables), 'table')} {were} compared in full, of the others the counts"
    return (
        ": the counts of both sides were compared, not the rows"
        if report.result.value in ("verified", "mismatch")
        else ""
    )


def _cut_over(done: CutOverFacts | None) -> list[tuple[str, str]]:
    """When a run that followed its source was cut over, what it followed, and for how long the writers stood still."""
    if done is None:
        return []
    stopped = f"the writers stood still for {done.write_stop_s:.1f} s" if done.write_stop_s is not None else ""
    blocked = "MongoDB was made to refuse all writes, and went on doing so" if done.writes_blocked else ""
    when = moment(done.unix) if done.unix else ""
    return [
        ("Cut over", "; ".join(filter(None, (when, stopped, blocked))) or "yes"),
        ("Sequences set", ", ".join(done.sequences)),
    ]


def _compared(run: RunReport) -> list[str]:
    found = []
    for each in run.compared:
        when = f" at {moment(each.unix)}" if each.unix else ""
        found.append(f"{verification_words(each.result, each.level)}{when}, in {duration(each.seconds)}")
    return found


def followed_words(followed: FollowedReport) -> str:
    """What was followed of the source, and how it is known that the rows are its documents."""
    begin = f"from {moment(followed.since_unix)} on" if followed.since_unix is not None else "the source"
    is_done = followed.phase == "done" and followed.mark_unix is not None
    words = [begin + (f" to the mark, {moment(followed.mark_unix)}" if is_done and followed.mark_unix else "")]
    kinds = [f"{number(count)} {_KINDS[kind]}" for kind, count in followed.changes.items() if count and kind in _KINDS]
    words.append(f"changes: {', '.join(kinds) or 'none'}")
    compared = "all" if not followed.to_compare else f"all but {number(followed.to_compare)}"
    words.append(f"{counted(followed.keys, 'key')} applied, {compared} of them compared with the source")
    if followed.mended:
        words.append(f"{counted(followed.mended, 'row that differed was', 'rows that differed were')} written again")
    if followed.differences:
        words.append(counted(followed.differences, "row differs", "rows differ"))
    return "; ".join(words) + ("" if is_done else "; not cut over")


def _since(run: RunReport) -> str:
    """Rows that no comparison has seen: why a run that was verified is not any more."""
    last = of_report(run.compared, run.retried)
    if not last.is_outdated:
        return ""
    when = f" at {moment(last.retried_unix)}" if last.retried_unix else ""
    rows = counted(last.written_since, "row")
    return f"a retry of rejects{when} has written {rows}, of which only the counts were compared"


def _values(name: str, values: Sequence[int]) -> str:
    """A knob's values one after the other; of many only the first and the last ones, as where the run turned it."""
    words = [_knob(name, value) for value in values]
    n_left_out = len(words) - 2 * _ENDS
    if n_left_out > 1:
        words[_ENDS:-_ENDS] = [f"… {n_left_out} more …"]
    return " → ".join(words)


def _knob(name: str, value: int) -> str:
    if name != "throttle":
        return number(value)
    return rate(value) if value else "off"


def _tables(report: VerifyReport) -> Section:
    names = counts_of(report)
    rows = [
        [
            f"{table.namespace} → {table.table}",
            *(_count(getattr(table, name)) for name in names),
            _result(report, table),
        ]
        for table in report.tables
    ]
    headings = ("kept as rejects" if name == "kept" else name for name in names)
    return Section("Tables", ("table", *headings, "result"), rows, frozenset(range(1, len(names) + 1)))


def _count(count: int) -> str:
    return number(count) if count >= 0 else NO_NUMBER


def _result(report: VerifyReport, table: TableCounts) -> str:
    """What became of a table, and what was found when it was compared."""
    found = table.message or result_word(table)
    replaced = replaced_table_words(report.replaced_since, table.table)
    return f"{found}; {replaced}" if replaced else found


def _altered(report: VerifyReport, run: RunReport) -> Section:
    rows = [
        [table.table, policy, number(count), altered_meaning(policy), _columns_under(policy, count, table, run)]
        for table in report.tables
        for policy, count in sorted(Counter(table.altered).items())
    ]
    headings = ("table", "policy", "values", "what they are now", "columns under the policy")
    return Section("Values altered by policy", headings, rows, frozenset({2}))


def _columns_under(altered: str, count: int, table: TableCounts, run: RunReport) -> str:
    """Which columns such values can be of, as values are counted by policy alone: those whose rejects were retried with it and,
    unless that were all of them, those that have it by the plan, and all others that had it in such a retry.

    Args:
        altered: `nul.strip`; of a policy with one such choice, its name alone.
        count: values.
    """
    policy, _, choice = altered.partition(".")
    choice = choice or policy
    planned = next((each for each in run.tables if table.table in (each.table, each.counts.table)), None)
    if planned is None or policy not in POLICIES:
        return NO_NUMBER
    retried: set[str] = set()
    n_retried, is_of_all = 0, False
    for each in run.retried:
        for reason in each.reasons:
            is_of_all |= (
                reason.namespace == planned.namespace and bool(reason.written) and each.policies.get(policy) == choice
            )
            is_of_it = (reason.namespace, reason.reason) == (planned.namespace, policy) and reason.written
            if is_of_it and each.policies.get(policy, choice) == choice:  # a policy of the settings is not kept
                retried.add(reason.field)
                n_retried += reason.written if policy in each.policies else 0
    names = [
        column.column
        for column in planned.columns
        if column.field in retried
        or (
            count != n_retried
            and column.field not in ("", "_id")
            and policy in policies_for(column.type)
            and (is_of_all or column.policies.get(policy, run.options.get(policy)) == choice)
        )
    ]
    if len(names) > _NAMED:
        return f"any of {counted(len(names), 'column')}"
    return ", ".join(names) or NO_NUMBER


def _rejects(run: RunReport) -> Section:
    rows = [
        [
            each.namespace, each.field, each.reason, number(each.count), reason_words(each.reason)[0] or each.detail,
            ", ".join(each.samples),
        ]
        for each in run.rejects
    ]  # fmt: skip
    headings = ("collection", "field", "reason", "documents", "what it means", "_id, such as")
    return Section("Rejected documents, not in the target", headings, rows, frozenset({3}))


def _retries(run: RunReport) -> Section:
    rows = [
        [
            moment(each.unix) if each.unix else NO_NUMBER, "; ".join(map(_retried_words, each.reasons)) or NO_NUMBER,
            number(each.tried), number(each.written), number(each.already_there), number(each.left), _chosen(each.policies),
        ]
        for each in run.retried
    ]  # fmt: skip
    headings = ("when", "which", "tried", "written", "already there", "left", "policies chosen")
    return Section("Rejects retried after the run", headings, rows, frozenset({2, 3, 4, 5}))


def _retried_words(retried: RetriedReason) -> str:
    """`shop.orders, amount: overflow, 100`."""
    field = f", {retried.field}" if retried.field else ""
    return f"{retried.namespace}{field}: {retried.reason}, {number(retried.tried)}"


def _chosen(policies: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {policy_value(choice)}" for name, choice in policies.items())


def _mapping(table: ReportedTable) -> Section:
    rows = [
        [
            column.field or NO_NUMBER, column.column, column.type + ("" if column.nullable else " NOT NULL"),
            _chosen(column.policies),
        ]
        for column in table.columns
    ]  # fmt: skip
    where = f", filter {table.filter}" if table.filter else ""
    title_ = f"Mapping of {table.namespace} → {table.table}{where}"
    return Section(title_, ("field", "column", "type", "policies of its own"), rows)


def _excluded(run: RunReport) -> Section:
    rows = [[table.namespace, field] for table in run.tables for field in table.excluded]
    return Section("Fields excluded on purpose", ("collection", "field"), rows)


def _differences(report: VerifyReport) -> Section:
    rows = [
        [
            "–" if value is None else value
            for value in (each.table, each.kind, each.id, each.field, each.source, each.target)
        ]
        for each in report.differences
    ]
    return Section("Differences", ("table", "kind", "_id", "field", "source", "target"), rows)


def _less_strict(report: VerifyReport) -> Section:
    rows = [[less.table, less.field, number(less.count), less.reason] for less in report.less_strict]
    return Section("Compared less strictly, by value", ("table", "field", "values", "why"), rows, frozenset({2}))
