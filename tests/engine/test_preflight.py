"""Preflight: what a plan says of the target is what a run of it meets, for every table, and nothing is written."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from engine.errors import EXIT_CONNECT, EXIT_DONE, KnobError, MissingCollection
from engine.mapping.names import TableName
from engine.mongo import catalogue
from engine.postgres import connect as postgres
from engine.postgres.existing import rows_known
from engine.preflight.connections import require_connections
from engine.protocol import EditablePlan, MakePlan, Preflight, PreflightReport
from tests.running import Engines

if TYPE_CHECKING:
    from tests.conftest import Source, Target
    from tests.engine.front_end import FrontEnd


def fill(source: Source, *names: str, count: int = 5) -> None:
    """Some documents in each of these collections."""
    for name in names:
        source.db[name].insert_many([{"_id": number, "n": number} for number in range(count)])


def nothing_was_written(target: Target) -> bool:
    """Not even the ledger."""
    return bool(target.value("SELECT to_regnamespace('mongopg') IS NULL"))


def fates(report: PreflightReport) -> dict[str, tuple[str, str, int | None]]:
    """By table: what becomes of it, its status, its rows."""
    return {table.table: (table.fate, table.status, table.rows) for table in report.tables}


async def test_b2_a_plan_names_every_table_that_is_there(source: Source, target: Target, engines: Engines) -> None:
    fill(source, "a", "b", "c")
    target.execute("CREATE TABLE a (n integer); INSERT INTO a SELECT generate_series(1, 7)")
    target.execute("CREATE TABLE b (n integer)")
    engine = await engines.launch(engines.settings("a", "b", "c"))
    report = (await engine.client.ask(EditablePlan, MakePlan())).preflight
    assert report is not None
    assert (report.status, report.target, report.database) == ("stop", "checked", target.database)
    assert fates(report) == {
        "public.a": ("stops", "stop", 7), "public.b": ("stops", "stop", 0), "public.c": ("created", "ok", None),
    }  # fmt: skip
    assert [table.code for table in report.stopping] == ["table_exists", "table_exists"]
    assert nothing_was_written(target)
    await engine.start()
    end = await engine.finished()
    assert "Tables public.a, public.b exist already" in end["error"]["message"]


async def test_of_many_tables_that_are_there_a_start_names_a_few(
    source: Source, target: Target, engines: Engines
) -> None:
    names = [f"t{number}" for number in range(8)]
    fill(source, *names)
    target.execute("".join(f"CREATE TABLE {name} (n integer);" for name in names))
    _, end = await engines.run(engines.settings(*names))
    named = "Tables public.t0, public.t1, public.t2, public.t3, public.t4 and 3 more exist already: choose others"
    assert end["error"]["message"].startswith(named)


async def test_b2_what_a_start_says_is_what_the_plan_says(source: Source, target: Target, engines: Engines) -> None:
    fill(source, "fits", "misfits", "new")
    target.execute("CREATE TABLE fits (_id integer, n integer); INSERT INTO fits VALUES (100, 1)")
    target.execute("CREATE TABLE misfits (_id integer, m integer NOT NULL)")
    target.execute("CREATE VIEW view AS SELECT 1 AS _id")
    names = [f"{source.database}.{name}" for name in ("fits", "misfits", "new")]
    names.append(f"{source.database}.new:public.view")
    engine = await engines.launch(engines.settings(run={"mode": "replace", "collections": names}))
    for mode in ("create", "append", "upsert", "replace"):
        changed = {"run": {"mode": mode}}
        planned = (await engine.client.ask(EditablePlan, MakePlan(settings=changed))).preflight
        asked = await engine.client.ask(PreflightReport, Preflight(settings=changed))
        assert planned == asked, mode
        assert asked.status == "stop"
        shown = fates(asked)
        assert shown["public.new"] == ("created", "ok", None)
        assert shown["public.view"][:2] == ("stops", "stop")
        there = {"create": "stops", "append": "appended", "replace": "replaced", "upsert": "upserted"}[mode]
        assert shown["public.fits"] == (there, "stop" if mode == "create" else "ok", 1)
        misfit = shown["public.misfits"]
        assert misfit[0] == ("replaced" if mode == "replace" else "stops")
    await engine.start()
    assert (await engine.finished())["state"] == "failed"
    assert target.value("SELECT count(*) FROM fits") == 1


async def test_a_table_that_rows_are_added_to_names_the_run_whose_mapping_is_kept(
    source: Source, engines: Engines
) -> None:
    fill(source, "orders")
    earlier, _ = await engines.run(engines.settings("orders"))
    engine = await engines.launch(engines.settings("orders", run={"mode": "upsert"}))
    planned = (await engine.client.ask(EditablePlan, MakePlan())).preflight
    asked = await engine.client.ask(PreflightReport, Preflight())
    assert planned == asked
    assert [table.mapped_by for table in asked.tables] == [earlier.run_id]


async def test_b2_no_target_and_one_that_cannot_be_reached(front_end: FrontEnd, source: Source) -> None:
    fill(source, "orders")
    without = front_end.do("plan", MONGOPG_TARGET_URI="")
    assert without.code == EXIT_DONE
    assert "target not checked" in without.out
    with socket.socket() as closed:  # bound and not listening
        closed.bind(("127.0.0.1", 0))
        uri = f"postgresql://postgres@127.0.0.1:{closed.getsockname()[1]}/postgres"
        unreachable = front_end.do("plan", "--target", uri)
        as_json = front_end.do("plan", "--json", "--target", uri)
    assert unreachable.code == as_json.code == EXIT_CONNECT
    assert f"{source.database}.orders → public.orders" in unreachable.out
    assert "refuses connections" in unreachable.out or "refused" in unreachable.out
    assert as_json.last["preflight"]["target"] == "unreachable"


async def test_t6_schemas_that_would_be_created_are_named(source: Source, target: Target, front_end: FrontEnd) -> None:
    fill(source, "products")
    plan = front_end.do("plan", "--collection", f"{source.database}.products:nosuchschema.products")
    assert plan.code == EXIT_DONE
    assert "schema nosuchschema will be created" in plan.out
    assert nothing_was_written(target)


@pytest.mark.parametrize(("typed", "meant"), [("prodcuts", "products"), ("Products", "products"), ("zzz", "")])
def test_case_19_a_misspelt_collection_is_answered_with_the_one_that_is_like_it(
    source: Source, typed: str, meant: str
) -> None:
    fill(source, "products", "orders")
    with pytest.raises(MissingCollection) as refused:
        catalogue.collection_facts(source.client, source.database, typed)
    expected = f"did you mean {source.database}.{meant}?" if meant else "check source.uri and the name."
    assert str(refused.value) == f"MongoDB has no collection {source.database}.{typed}: {expected}"


async def test_cases_4_and_5_a_misspelt_database_is_answered_with_the_one_that_is_like_it(
    source: Source, engines: Engines
) -> None:
    fill(source, "products")
    uri = source.uri.replace(source.database, source.database.upper())
    engine = await engines.launch(engines.settings(source={"uri": uri}, run={"collections": []}))
    with pytest.raises(MissingCollection, match=f"has no collections; did you mean '{source.database}'\\?"):
        await engine.client.call(MakePlan())


async def test_b2_rows_of_large_tables_are_the_servers_estimate_and_say_so(target: Target) -> None:
    target.execute("CREATE TABLE large WITH (autovacuum_enabled = false) AS SELECT n FROM generate_series(1, 150000) n")
    target.execute("CREATE TABLE parts (n integer) PARTITION BY RANGE (n)")
    target.execute("CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (10)")
    target.execute("INSERT INTO parts SELECT generate_series(1, 3)")
    connection = await postgres.connect(target.uri)
    try:
        assert await rows_known(connection, TableName("public", "large")) == (100_000, "at least")
        assert await rows_known(connection, TableName("public", "parts")) == (3, "exact")
        await connection.execute("ANALYZE large")
        assert await rows_known(connection, TableName("public", "large")) == (150_000, "about")
        assert await rows_known(connection, TableName("public", "none")) == (None, "exact")
    finally:
        await connection.close()


async def test_b2_rights_connections_and_a_run_that_holds_a_table_are_found(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source, "orders", count=2_000)
    role = f"reader_{target.database}"
    target.execute(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 4")
    few = engines.settings("orders", target={"uri": target.uri.replace("postgres@", f"{role}@")})
    engine = await engines.launch(few)
    report = await engine.client.ask(PreflightReport, Preflight())
    [rights] = [check for check in report.checks if check.what == "rights"]
    assert (report.status, rights.code) == ("stop", "rights")
    assert "CREATE SCHEMA" in rights.message
    [connections] = [check for check in report.checks if check.what == "connections"]
    assert (connections.status, connections.code) == ("stop", "knob")
    assert "cluster_size must be at most 1 now, not 2" in connections.message
    with pytest.raises(KnobError, match="no free connection for a worker: end other sessions, or raise its limit"):
        require_connections(1, 0)

    holder = await engines.launch(engines.settings("orders", run={"throttle": 200, "page_size": 100}))
    await holder.start()
    await holder.until_written(100)
    report = await engine.client.ask(
        PreflightReport, Preflight(settings={"run": {"mode": "append"}, "target": {"uri": target.uri}})
    )
    assert [(table.code, table.fate) for table in report.tables] == [("target_held", "stops")]
    assert f"held by run {holder.run_id}" in report.tables[0].message
    await holder.cancel(now=True)


@pytest.mark.slow
async def test_a_target_that_swallows_packets_is_asked_once_while_a_plan_is_edited(
    source: Source, engines: Engines
) -> None:
    fill(source, "a")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        port = silent.getsockname()[1]
        target = {"uri": f"postgresql://app@127.0.0.1:{port}/x?connect_timeout=2&sslmode=disable"}
        engine = await engines.launch(engines.settings("a", target=target))
        plan = await engine.client.ask(EditablePlan, MakePlan())
        assert plan.preflight is not None
        assert plan.preflight.target == "unreachable"
        n_asked = n_connections(silent)
        assert n_asked
        for text in (plan.toml.replace('"n"', '"m"', 1), plan.toml):
            edited = await engine.client.ask(EditablePlan, MakePlan(plan=text, recount=False))
            assert edited.preflight is not None
            assert edited.preflight.target == "unreachable"
            assert [each.message for each in edited.preflight.checks if each.what == "target"] == [
                each.message for each in plan.preflight.checks if each.what == "target"
            ]
        assert n_connections(silent) == 0
        await engine.client.ask(EditablePlan, MakePlan(plan=plan.toml, recount=True))
        assert n_connections(silent)


def n_connections(listener: socket.socket) -> int:
    """Those that were made since it was asked last."""
    found = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return found
        found += 1
