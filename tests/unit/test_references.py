"""Connection strings that are in a variable or a file of the host where they are used."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from engine.config import Settings, merged
from engine.errors import UsageError
from engine.loading import load_settings
from engine.references import is_reference, resolve
from engine.work.context import WorkerStart

SOURCE, TARGET = "mongodb://app:canary@db1:27017/shop", "postgresql://mig:canary@pg1/shop"


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("env:SHOP", True), (" file:/run/secrets/shop\n", True), ("env:not a name", True), (SOURCE, False), (TARGET, False),
        ("host=pg1 dbname=shop", False), ("", False), ("env:", False),
    ],
)  # fmt: skip
def test_what_is_a_reference(text: str, is_one: bool) -> None:
    assert is_reference(text) is is_one


def test_a_variable_is_read_and_the_reference_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP", f" {SOURCE}\n")
    loaded = load_settings(None, {"source.uri": "env:SHOP"})
    assert loaded.settings.source.connection == SOURCE
    assert loaded.settings.source.uri_from == "env:SHOP"
    assert loaded.provenance["source.uri"] == "environment SHOP"
    assert loaded.warnings == ()


def test_a_file_is_read_and_the_reference_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "target"
    file.write_text(TARGET + "\n")
    monkeypatch.setenv("MONGOPG_TARGET_URI", f"file:{file}")
    loaded = load_settings(None, {})
    assert loaded.settings.target.connection == TARGET
    assert loaded.settings.target.uri_from == f"file:{file}"


def test_a_file_that_is_named_is_where_other_hosts_have_it_too(tmp_path: Path) -> None:
    file = tmp_path / "target"
    file.write_text(TARGET)
    loaded = load_settings(None, {"target.uri_file": str(file)})
    assert loaded.settings.target.uri_from == f"file:{file}"
    elsewhere = load_settings(None, {"target.uri_file": str(file), "target.uri_from": "env:PG"})
    assert elsewhere.settings.target.uri_from == "env:PG"


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("env:NOT_THERE", "--source is env:NOT_THERE, but there is no environment variable NOT_THERE, or it is empty."),
        ("file:/not/there", "--source is file:/not/there, which cannot be read: No such file or directory."),
        (
            "file:secrets/shop",
            "--source must be env:NAME, with the name of a variable, or file:/PATH, with an absolute path.",
        ),
        ("env:a b", "--source must be env:NAME, with the name of a variable, or file:/PATH, with an absolute path."),
    ],
)
def test_what_is_not_there_is_said_with_the_setting(reference: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        load_settings(None, {"source.uri": reference})
    assert refused.value.message == sentence


def test_an_empty_file_is_no_connection_string(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(UsageError, match="which is empty"):
        resolve(f"file:{tmp_path}/empty", "source.uri")


def test_another_connection_string_is_not_where_the_one_before_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP", SOURCE)
    settings = merged(Settings(), {"source": {"uri": "env:SHOP"}})
    assert (settings.source.connection, settings.source.uri_from) == (SOURCE, "env:SHOP")
    assert merged(settings, {"source": {"password": "x"}}).source.uri_from == "env:SHOP"
    assert merged(settings, {"source": {"uri": SOURCE}}).source.uri_from == "env:SHOP"
    assert merged(settings, {"source": {"uri": "mongodb://db2/shop"}}).source.uri_from == ""
    with pytest.raises(ValidationError):
        merged(settings, {"source": {"uri_from": "somewhere"}})


def test_what_other_hosts_are_sent_holds_no_secret_where_they_have_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    start = WorkerStart("run", SOURCE, TARGET, "auto", "env:SHOP", "file:/run/secrets/pg")
    sent = start.for_other_hosts(is_private=False)
    assert (sent.source_uri, sent.target_uri) == ("", "")
    assert (sent.source_from, sent.target_from) == ("env:SHOP", "file:/run/secrets/pg")
    monkeypatch.setenv("SHOP", SOURCE)
    with pytest.raises(UsageError, match=r"target\.uri is file:/run/secrets/pg, which cannot be read"):
        sent.resolved()


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_secret_is_not_sent_in_clear(side: str) -> None:
    references = {"source": ("env:A", ""), "target": ("", "env:A")}["target" if side == "source" else "source"]
    start = WorkerStart("run", SOURCE, TARGET, "auto", *references)
    with pytest.raises(UsageError) as refused:
        start.for_other_hosts(is_private=False)
    for part in (f"The password of {side}.uri", "tls://", "env:NAME or file:/PATH"):
        assert part in refused.value.message
    assert "canary" not in refused.value.message
    assert start.for_other_hosts(is_private=True).resolved is not None


def test_what_is_no_secret_may_be_sent() -> None:
    start = WorkerStart("run", "mongodb://db1/shop", "postgresql://mig@pg1/shop?passfile=/nowhere", "auto")
    assert start.for_other_hosts(is_private=False) == start
