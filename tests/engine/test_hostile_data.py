"""Documents, names and server errors that want to act on the terminal or forge lines: shown, and nothing more."""

from __future__ import annotations

import json
import re
import sys
import time

import pytest

from tests.conftest import Source, Target
from tests.engine.front_end import FrontEnd, Outcome
from tests.engine.front_end import front_end as front_end
from tests.tui.terminal import Terminal

CLIPBOARD = "\x1b]52;c;Y2FuYXJ5\x07"
HOSTILE = f"A{CLIPBOARD}\x9b31m\u202e\r\nFORGED [@click=app.bell]x[/][/red][b\tZ"
"""OSC 52 writes the clipboard, C1 CSI colours, U+202E turns text around; then a line of its own, and markup."""
OURS = re.compile(
    r"\x1b\[[0-9;?<>=:]*[ -/]*[@-~]|\x1b[PX^_].*?\x1b\\|\x1b\].*?(?:\x07|\x1b\\)|\x1b[=>()78][B0]?", re.DOTALL
)
TITLES = re.compile(r"\x1b\](\d+)")
PROGRAM = [sys.executable, "-m", "tui"]


@pytest.fixture
def hostile(source: Source, target: Target) -> list[str]:
    """A collection with everything; the words that name it on the command line. Three documents of 53 are rejects."""
    name = f"bad{HOSTILE}"
    source.db[name].insert_many(
        [
            {"_id": f"{number}{HOSTILE}", HOSTILE: HOSTILE, "n": number, "in": {HOSTILE: [HOSTILE]}}
            for number in range(50)
        ]
    )
    source.db[name].insert_many([{"_id": f"nul{number}{HOSTILE}", HOSTILE: "a\0b"} for number in range(2)])
    source.db[name].insert_one({"_id": f"refused{HOSTILE}", "n": 666})
    return ["--collection", f"{source.database}.{name}:public.bad"]


@pytest.fixture
def hostile_server(hostile: list[str], front_end: FrontEnd, target: Target) -> list[str]:
    """The table is there already, and a trigger of it refuses a document with an error of its own."""
    ddl = front_end.do("plan", "--ddl", *hostile)
    target.execute(ddl.out)
    quoted = HOSTILE.replace("'", "''")
    target.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.n = 666 THEN"
        f" RAISE EXCEPTION USING MESSAGE = '{quoted}', DETAIL = '{quoted}', HINT = '{quoted}'; END IF; RETURN NEW; END $$;"
        " CREATE TRIGGER refuse BEFORE INSERT ON bad FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    return [*hostile, "--mode", "append"]


def assert_plain(text: str) -> None:
    """Text for people in a pipe: printable, and every line one of ours."""
    assert {character for character in text if not character.isprintable()} <= {"\n"}, ascii(text)
    assert not [line for line in text.split("\n") if line.startswith("FORGED")]


def assert_json(outcome: Outcome) -> None:
    """Every line an object, all ASCII."""
    assert outcome.out.isascii()
    assert all(isinstance(json.loads(line), dict) for line in outcome.out.splitlines())
    assert_plain(outcome.out)
    assert_plain(outcome.err)


def assert_tame(output: str) -> None:
    """What reached a terminal: our own control sequences and printable text."""
    assert CLIPBOARD not in output
    assert "52" not in TITLES.findall(output)
    rest = OURS.sub("", output)
    assert {character for character in rest if not character.isprintable()} <= {"\n", "\r"}, ascii(rest)[-3000:]
    assert not [line for line in rest.replace("\r", "\n").split("\n") if line.startswith("FORGED")]


@pytest.mark.slow
def test_in_pipes(front_end: FrontEnd, hostile_server: list[str]) -> None:
    plain = front_end.do("run", "--headless", *hostile_server)
    assert plain.code == 4, plain
    assert "FORGED" in plain.out, "the name is shown"
    for outcome in (plain, front_end.do("plan", *hostile_server), front_end.do("rejects"), front_end.do("runs"),
                    front_end.do("verify")):  # fmt: skip
        assert_plain(outcome.out)
        assert_plain(outcome.err)
    rejects = front_end.do("rejects", "--json")
    assert sum(group["count"] for group in rejects.last["groups"]) == 3
    for outcome in (rejects, front_end.do("plan", "--json", *hostile_server), front_end.do("runs", "--json"),
                    front_end.do("verify", "--json"), front_end.do("run", "--json", *hostile_server)):  # fmt: skip
        assert_json(outcome)


def test_in_logs(front_end: FrontEnd, hostile_server: list[str]) -> None:
    front_end.do("run", "--headless", *hostile_server)
    logs = list((front_end.folder / "state").rglob("*.log"))
    assert logs
    for log in logs:
        for line in log.read_text().splitlines():
            assert isinstance(json.loads(line), dict), line
            assert line.isascii()
            assert line.isprintable()


@pytest.mark.slow
def test_errors_of_people_who_type_such_names(front_end: FrontEnd, source: Source) -> None:
    for words in (["--collection", HOSTILE], ["--collection", f"{source.database}.{HOSTILE}"], ["--mode", HOSTILE],
                  ["--cluster-size", HOSTILE], [f"--{HOSTILE}"], ["--config", f"/{HOSTILE}"]):  # fmt: skip
        outcome = front_end.do("run", "--headless", *words)
        assert outcome.code in (1, 2), (words, outcome)
        assert outcome.err.startswith("Error: ")
        assert_plain(outcome.out)
        assert_plain(outcome.err)
    for variable in ("SOURCE", "TARGET"):
        uri = "mongodb" if variable == "SOURCE" else "postgresql"
        outcome = front_end.do("run", "--headless", **{f"MONGOPG_{variable}_URI": f"{uri}://{HOSTILE}/{HOSTILE}"})
        assert outcome.code in (2, 3)
        assert_plain(outcome.err)


@pytest.mark.slow
def test_in_a_terminal_without_the_cockpit(front_end: FrontEnd, hostile_server: list[str]) -> None:
    silent = {**front_end.environment, "MONGOPG_COCKPIT_NOTIFY": "false"}  # our own bell is none of theirs
    for words, code in ((["plan", *hostile_server], 0), (["plan", "--ddl", *hostile_server], 0),
                        (["run", "--headless", *hostile_server], 4), (["rejects"], 0), (["runs"], 0)):  # fmt: skip
        with Terminal([*PROGRAM, *words], silent) as terminal:
            assert terminal.wait_for_end() == code, terminal.output
            assert_tame(terminal.output)


def look_at(terminal: Terminal, *keys: str) -> None:
    """Press keys, and give the screen a second after each."""
    for key in keys:
        terminal.press(key)
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            terminal.read()


@pytest.mark.slow
def test_a_run_in_the_cockpit(front_end: FrontEnd, hostile_server: list[str], target: Target) -> None:
    silent = {**front_end.environment, "MONGOPG_COCKPIT_NOTIFY": "false"}  # our own bell is none of theirs
    with Terminal([*PROGRAM, "run", *hostile_server], silent, 150, 45) as terminal:
        terminal.wait_for("50 written")
        look_at(terminal, "l", "e", "\x1b")
        terminal.press("q")
        assert terminal.wait_for_end() == 4
        assert "FORGED" in terminal.output, "the name is shown"
        assert_tame(terminal.output)
    assert target.value("SELECT count(*) FROM bad") == 50


@pytest.mark.slow
def test_names_on_the_setup_screen(front_end: FrontEnd, hostile: list[str]) -> None:
    assert hostile
    with Terminal(PROGRAM, front_end.environment, 150, 45) as terminal:
        terminal.wait_for("badA\\u{1b}]52")
        look_at(terminal, " ", "a")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert_tame(terminal.output)
