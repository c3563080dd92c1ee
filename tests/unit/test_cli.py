from __future__ import annotations

import errno
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from engine import __version__
from engine.config import Loaded
from engine.errors import EXIT_CONNECT, EXIT_DONE, EXIT_FAILED, EXIT_USAGE
from engine.protocol import Start
from tui.cli import follow, front_ends, output
from tui.cli.commands import COMMANDS, application, examples_of
from tui.cli.entry import RUN_COMMANDS, _with_bare_resume, run_command_line
from tui.demo import ROWS_PER_S

PROJECT = Path(__file__).resolve().parents[2]
HELP_LIMIT_S = 0.4
HEAVY = ("pydantic", "pydantic_settings", "pymongo", "asyncpg", "textual", "rich", "faker", "asyncio")
URIS = ["--source", "mongodb://host/shop", "--target", "postgresql://host/shop"]


@pytest.fixture(autouse=True)
def _nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variable, no file and no live engine of this machine plays a part; there is no terminal."""
    for name in list(os.environ):
        if name.startswith("MONGOPG_"):
            monkeypatch.delenv(name)
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        (tmp_path / name).mkdir(mode=0o700)
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(output, "has_terminal", lambda: False)
    with tempfile.TemporaryDirectory(prefix="mpg") as runtime:  # short: a socket's path must be
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        yield


@pytest.fixture
def accepted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Loaded, Start, dict[str, Any]]]:
    """Runs that the command line would start."""
    calls: list[tuple[Loaded, Start, dict[str, Any]]] = []

    def run(loaded: Loaded, start: Callable[[], Start], **how: Any) -> int:
        calls.append((loaded, start(), how))
        return 7

    monkeypatch.setattr(front_ends, "start_run", run)
    return calls


def test_a_demo_may_meet_its_own_table_again(accepted: list[tuple[Loaded, Start, dict[str, Any]]]) -> None:
    assert run_command_line(["demo", "--mode", "replace"]) == 7
    assert accepted[0][0].settings.run.mode == "replace"


def test_a_demo_follows_what_is_written_to_it_when_so_asked(
    accepted: list[tuple[Loaded, Start, dict[str, Any]]],
) -> None:
    assert run_command_line(["demo", "--follow"]) == 7
    assert run_command_line(["demo"]) == 7
    assert [start.follow for _, start, _ in accepted] == [True, False]
    assert accepted[0][0].settings.demo.writes > 0


@pytest.mark.parametrize(
    ("words", "is_watched", "throttle"),
    [
        (["demo"], True, ROWS_PER_S),
        (["demo"], False, 0),
        (["demo", "--headless"], True, 0),
        (["demo", "--throttle", "off"], True, 0),
        (["demo", "--throttle", "5000"], True, 5_000),
    ],
)
def test_f15_a_demo_that_is_watched_has_a_throttle_unless_one_was_chosen(
    accepted: list[tuple[Loaded, Start, dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    is_watched: bool,
    throttle: int,
) -> None:
    monkeypatch.setattr(output, "has_terminal", lambda: is_watched)
    assert run_command_line(words) == 7
    assert accepted[0][0].settings.run.throttle == throttle


def _last_line(text: str) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(text.splitlines()[-1])
    return line


# --- help and version -------------------------------------------------------------------------------------------------


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from tui.cli.entry import run_command_line; assert run_command_line(['--help']) == 0;"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT).stdout
    assert shown.splitlines()[-1] == "[]"


def test_help_is_there_at_once() -> None:
    def cpu_s() -> float:  # and not the time by the clock, which belongs to whatever else the machine does
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        return spent.ru_utime + spent.ru_stime

    durations = []
    for _ in range(3):
        began = cpu_s()
        subprocess.run([sys.executable, "-m", "tui", "--help"], capture_output=True, check=True, cwd=PROJECT)
        durations.append(cpu_s() - began)
    assert min(durations) < HELP_LIMIT_S


def test_every_command_and_option_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    names = [entry.name or "" for entry in application().registered_commands]
    assert names[:11] == [
        "demo",
        "seed",
        "plan",
        "run",
        "follow",
        "verify",
        "rejects",
        "runs",
        "report",
        "attach",
        "ctl",
    ]
    for name in names:
        assert run_command_line([name, "--help"]) == EXIT_DONE
        shown = capsys.readouterr().out
        assert ("SIGUSR1" in shown) is (name in RUN_COMMANDS)
        for block in re.split(r"\n(?=  -)", shown.partition("Options:\n")[2]):
            described = re.sub(r"^\s*(-\w, )?--[\w-]+( [^\s]+)?", "", block.rstrip())
            assert described.strip(), f"{name}: {block}"


def test_the_list_of_commands_says_of_each_what_it_says_of_itself() -> None:
    for given in application(COMMANDS).registered_commands:
        assert given.callback is not None
        assert (given.callback.__doc__ or "").partition("\n")[0] == COMMANDS[str(given.name)].help


def test_a_command_has_its_options_whatever_words_are_among_the_arguments(
    accepted: list[tuple[Loaded, Start, dict[str, Any]]],
) -> None:
    assert run_command_line([*URIS, "--collection", "runs", "seed", "--seed-count", "5"]) == 7
    assert accepted[0][0].settings.seed.count == 5


def test_the_version_is_the_engines(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["--version"]) == EXIT_DONE
    assert capsys.readouterr().out == f"mongopg-tui {__version__}\n"


# --- what is asked of the engine --------------------------------------------------------------------------------------


def test_run_takes_its_options_before_and_after_its_name(
    accepted: list[tuple[Loaded, Start, dict[str, Any]]],
) -> None:
    words = "--collection shop.a run --cluster-size 90 --page-size 500 --throttle off --mode append --json"
    assert run_command_line([*URIS, *words.split()]) == 7
    ((loaded, start, how),) = accepted
    run = loaded.settings.run
    assert (run.collections, run.cluster_size, run.page_size, run.throttle) == (["shop.a"], 90, 500, 0)
    assert run.mode == "append"
    assert loaded.settings.target.uri.get_secret_value() == "postgresql://host/shop"
    assert (start.seed, start.migrate, start.resume) == (False, True, None)
    assert how == {"headless": False, "plain": False, "as_json": True, "exit_on_halt": False}


def test_collections_may_be_repeated(accepted: list[tuple[Loaded, Start, dict[str, Any]]]) -> None:
    run_command_line(["run", "--collection", "shop.a", "--collection", "shop.b:crm.b"])
    assert accepted[0][0].settings.run.collections == ["shop.a", "shop.b:crm.b"]


@pytest.mark.parametrize(
    ("words", "resume"),
    [
        ("run", None),
        ("run --resume", ""),
        ("run --resume --headless", ""),
        ("run --resume 20261123-14 --headless", "20261123-14"),
    ],
)
def test_resume_takes_a_run_or_none(
    words: str, resume: str | None, accepted: list[tuple[Loaded, Start, dict[str, Any]]]
) -> None:
    assert run_command_line(words.split()) == 7
    assert accepted[0][1].resume == resume


def test_a_run_is_followed_that_is_taken_over(
    monkeypatch: pytest.MonkeyPatch, accepted: list[tuple[Loaded, Start, dict[str, Any]]]
) -> None:
    def ask(*_: object, **__: object) -> dict[str, str]:
        return {"run_id": "20261201-1040-abcd", "state": "following"}

    monkeypatch.setattr(follow, "ask", ask)
    assert run_command_line(["follow", "20261201", "--take-over", *URIS]) == 7
    assert run_command_line(["follow", "20261201", *URIS]) == 7
    starts = [start for _, start, _ in accepted]
    assert [(start.resume, start.follow, start.take_over) for start in starts] == [
        ("20261201-1040-abcd", True, True),
        ("20261201-1040-abcd", True, False),
    ]


def test_seed_only_seeds(accepted: list[tuple[Loaded, Start, dict[str, Any]]]) -> None:
    words = "seed --seed-count 5,000 --seed 3 --collection shop.people --into-existing --plain"
    assert run_command_line(words.split()) == 7
    ((loaded, start, how),) = accepted
    seed = loaded.settings.seed
    assert (seed.count, seed.seed, seed.collection, seed.into_existing) == (5_000, 3, "shop.people", True)
    assert (start.seed, start.migrate) == (True, False)
    assert how == {"sides": ("source",), "headless": False, "plain": True, "as_json": False}


def test_demo_runs_on_servers_of_its_own(tmp_path: Path, accepted: list[tuple[Loaded, Start, dict[str, Any]]]) -> None:
    (tmp_path / "config.toml").write_text('[run]\ncollections = ["shop.orders"]\n')
    assert run_command_line(["demo", "--dir", "data", "--keep"]) == 7
    ((loaded, start, _),) = accepted
    demo = loaded.settings.demo
    assert (demo.embedded, demo.dir, demo.keep) == (True, str(tmp_path / "data"), True)
    assert loaded.settings.run.collections == ["demo.users"]
    assert (start.seed, start.migrate) == (True, True)


def test_a_configuration_file_may_be_named_anywhere(
    tmp_path: Path, accepted: list[tuple[Loaded, Start, dict[str, Any]]]
) -> None:
    (tmp_path / "mine.toml").write_text("[run]\npage_size = 700\n")
    run_command_line(["--config", "mine.toml", "run"])
    run_command_line(["run", "--config", "mine.toml"])
    assert [loaded.settings.run.page_size for loaded, _, _ in accepted] == [700, 700]


def test_f13_workers_and_batch_size_are_names_of_knobs_wherever_one_is_typed(
    tmp_path: Path, accepted: list[tuple[Loaded, Start, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_command_line(["run", "--workers", "9", "--batch-size", "700"])
    (tmp_path / "config.toml").write_text("[run]\nworkers = 9\nbatch_size = 700\n")
    run_command_line(["run"])
    (tmp_path / "config.toml").unlink()
    monkeypatch.setenv("MONGOPG_RUN_WORKERS", "9")
    monkeypatch.setenv("MONGOPG_RUN_BATCH_SIZE", "700")
    run_command_line(["run"])
    runs = [loaded.settings.run for loaded, _, _ in accepted]
    assert [(run.cluster_size, run.page_size) for run in runs] == [(9, 700)] * 3


def test_f13_a_setting_that_is_given_by_both_of_its_names_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text("[run]\nworkers = 9\ncluster_size = 9\n")
    assert run_command_line(["run", *URIS]) == EXIT_USAGE
    shown = capsys.readouterr().err
    assert "run.workers in ./config.toml and run.cluster_size in ./config.toml are one setting: take one out." in shown


def test_every_command_shows_examples_that_the_parser_takes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ["", *COMMANDS]:
        assert run_command_line([*filter(None, [name]), "--help"]) == EXIT_DONE
        shown = capsys.readouterr().out
        assert "Examples:\n" in shown
        for line, what in examples_of(name):
            assert f"    {line}\n        {what}\n" in shown
            assert max(len(f"    {line}"), len(f"        {what}")) < 80
            words = line.split()[1:]
            group: Any = typer.main.get_command(application(COMMANDS))
            with group.make_context("mongopg-tui", list(words), resilient_parsing=False) as context:
                if words:
                    _, command, rest = group.resolve_command(context, words)
                    command.make_context(command.name, _with_bare_resume(rest), parent=context)


def test_warnings_of_the_settings_go_to_stderr(
    accepted: list[tuple[Loaded, Start, dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    run_command_line(["run", "--json", "--source", "mongodb://u:canary@h/d"])
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "use MONGOPG_SOURCE_URI" in shown.err
    assert "canary" not in shown.err


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("run --bad", "No such option: --bad; see `mongopg-tui run --help`."),
        ("rnu", "No such command 'rnu'. Did you mean 'run'?"),
        ("run --worker 8", "No such option: --worker. Did you mean --workers?"),
        ("run --thottle 8", "No such option: --thottle. Did you mean --throttle?"),
        ("plan --throttle 8", "No such option: --throttle; it is one of `mongopg-tui run`."),
        (
            "run --cluster-size 9999",
            "--cluster-size must be a whole number between 1 and 1,024, auto, or auto:4-16, not 9999.",
        ),
        ("run --page-size -5", "--page-size must be a whole number between 100 and 100,000, not -5."),
        ("run --mode replce", "did you mean replace?"),
        ("seed --seed-count -1", "--seed-count must be a whole number between 0 and 1,000,000,000, not -1."),
        ("run --headless", "There is no source: give --source mongodb://host/database, MONGOPG_SOURCE_URI, or uri in"),
        ("run --source mongodb://h/d", "There is no target: give --target"),
        ("seed", "There is no source"),
        ("runs", "There is no target"),
        ("follow", "Missing argument 'RUN'; see `mongopg-tui follow --help`."),
        ("follow x", "There is no source"),
        ("verify --level deep", "--level must be counts or full, not 'deep'."),
        ("", "The cockpit needs a terminal; `mongopg-tui run --headless` works without one."),
        ("attach", "The cockpit needs a terminal; `mongopg-tui ctl status` works without one."),
        ("ctl", "Missing argument 'ACTION'; see `mongopg-tui ctl --help`."),
        ("ctl zap", "Unknown action 'zap'; use status, pause, resume, cancel, set, cutover, resolve."),
        ("ctl stauts", "Unknown action 'stauts'; did you mean status?"),
        ("ctl set", "ctl set takes KNOB=VALUE, such as workers=12."),
        ("ctl set workrs=9", "There is no knob 'workrs'; did you mean workers?"),
        ("ctl set cluster_size=9000", "cluster_size must be between 1 and 1,024, not 9,000."),
        (
            "ctl set speed=9",
            "There is no knob 'speed'; the knobs are cluster_size, page_size, seed_count, throttle.",
        ),
        ("ctl pause --now", "--now goes with cancel only."),
        ("ctl status --wait", "--wait goes with pause, resume, cancel, set and cutover."),
        ("ctl pause x=1", "KNOB=VALUE goes with set only."),
        ("ctl resolve", "ctl resolve takes a collection and ignore, empty, stop; or --resync."),
        ("ctl resolve a.b keep", "ctl resolve takes ignore, empty, stop, not 'keep'."),
        ("ctl resolve a.b --resync", "--resync is about the whole source: it takes no collection."),
        ("ctl resolve a.b stop --wait", "--wait and --now do not go with resolve."),
        ("ctl pause a.b stop", "A second word behind the action and --resync go with resolve only."),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(
    words: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(words.split()) == EXIT_USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert shown.err.startswith("Error: ")
    assert sentence in shown.err


def test_no_live_run_is_exit_code_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["ctl", "status"]) == EXIT_CONNECT
    assert "No run in progress on this machine" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "run --cluster-size", "run --page-size", "run --throttle", "run --mode", "run --max-rejects", "run --consistency",
        "run --census", "seed --seed-count", "seed --seed", "bench --documents", "verify --level", "ctl status --run",
        "attach", "run --collection", "run --source", "run --target", "run --resume", "ctl set", "ctl",
    ],
)  # fmt: skip
def test_a_connection_string_or_a_password_in_the_wrong_place_is_not_repeated(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    takes_names = words in (
        "ctl status --run",
        "attach",
        "run --collection",
        "run --resume",
        "ctl set",
        "ctl",
        "run --target",
    )
    for pasted in ("mongodb://me:hunter2canary@h/d", *(() if takes_names else ("hunter2canary",))):
        assert run_command_line([*words.split(), pasted]) != EXIT_DONE
        assert "hunter2" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    "words",
    ["run --json --mode x", "run --json --bad", "run --json --plain", "seed --json", "demo --json --seed-count x"],
)
def test_the_last_json_line_of_a_run_that_could_not_start(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(words.split()) == EXIT_USAGE
    shown = capsys.readouterr()
    line = _last_line(shown.out)
    assert shown.out.count("\n") == 1
    assert (line["event"], line["state"], line["error"]["code"]) == ("finished", "failed", "usage")
    assert shown.err == f"Error: {line['error']['message']}\n"
    assert set(line) >= {"run_id", "verification", "read", "written", "rejected", "seconds", "rows_per_s", "tables"}


@pytest.mark.parametrize("words", ["plan --json", "plan --ddl --json", "ctl pause --json --now", "runs --json --bad"])
def test_other_commands_answer_mistakes_with_one_object_too(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(words.split()) == EXIT_USAGE
    assert list(json.loads(capsys.readouterr().out)) == ["error"]


def test_a_fault_of_ours_is_a_sentence_and_its_traceback_goes_to_a_file_without_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: object, **__: object) -> int:
        raise ZeroDivisionError("mongodb://u:canary@h/d")

    monkeypatch.setattr(front_ends, "start_run", run)
    assert run_command_line(["run", *URIS]) == EXIT_FAILED
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    log = tmp_path / "XDG_STATE_HOME" / "mongopg-tui" / "command-line.log"
    assert f"This is a fault of mongopg-tui (ZeroDivisionError); {log} says more." in shown
    assert "Traceback" in log.read_text()
    assert "canary" not in shown + log.read_text()


@pytest.mark.parametrize("variable", ["XDG_STATE_HOME", "XDG_RUNTIME_DIR"])
def test_a_folder_that_cannot_be_used_is_one_sentence_that_names_it(
    variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(os.environ["XDG_RUNTIME_DIR"], "file")  # a long path would not be taken for sockets
    file.touch()
    monkeypatch.setenv(variable, str(file))
    assert run_command_line(["run", "--json", *URIS]) == EXIT_USAGE
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert f"{file}/mongopg" in shown.err
    assert f"set {variable} to another place" in shown.err
    assert _last_line(shown.out)["error"]["code"] == "usage"


def test_a_full_disk_is_no_fault_of_ours(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(front_ends, "start_run", run)
    assert run_command_line(["run", *URIS]) == EXIT_FAILED
    assert capsys.readouterr().err == "Error: The output cannot be written: No space left on device.\n"


def test_a_fault_of_ours_is_a_sentence_also_where_its_traceback_cannot_be_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: object, **__: object) -> int:
        raise ZeroDivisionError

    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(front_ends, "start_run", run)
    assert run_command_line(["run", *URIS]) == EXIT_FAILED
    shown = capsys.readouterr().err
    assert shown.startswith("Error: This is a fault of mongopg-tui (ZeroDivisionError)")
    assert shown.count("\n") == 1


def test_a_lost_terminal_does_not_change_the_exit_code() -> None:
    """Text that could not be read any more stands in a buffer when the program ends."""
    code = """if True:
        import sys
        import tui.cli.entry, tui.__main__

        def leave(_: object) -> int:
            print("ready", flush=True)
            sys.stdin.read()
            sys.stdout.write("a last word")
            return 129

        tui.cli.entry.run_command_line = leave
        tui.__main__.main()
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    master, terminal = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=terminal,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        assert os.read(master, 5) == b"ready"
        os.close(master)
        process.communicate(timeout=60)
    assert process.returncode == 129


@pytest.mark.parametrize(
    ("words", "streams", "code", "told"),
    [
        ("--help", ">/dev/full", EXIT_FAILED, "Error: The output cannot be written: No space left on device.\n"),
        ("--help", ">&-", EXIT_DONE, ""),
        ("--help", "<&- >&- 2>&-", EXIT_DONE, ""),
        ("run --json --mode sideways", ">/dev/full", EXIT_USAGE, "Error: --mode "),
        ("run --json --mode sideways", "<&- >&-", EXIT_USAGE, "Error: --mode "),
        ("run --json --mode sideways", "2>&-", EXIT_USAGE, ""),
    ],
)
def test_streams_that_are_closed_or_full_change_no_exit_code(words: str, streams: str, code: int, told: str) -> None:
    command = f'exec "$0" -m tui {words} {streams}'
    done = subprocess.run(
        ["/bin/sh", "-c", command, sys.executable], cwd=PROJECT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(told)
    assert done.stderr.count("\n") == (1 if told else 0)
