from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest

from engine.config import DemoSettings, Settings, merged, redact, reveal
from engine.errors import KnobError, UsageError
from engine.knobs import CLUSTER_SIZE
from engine.loading import load_settings, setting_names
from engine.redaction import holds_secret
from engine.service.launching import _environment

EXAMPLE = Path(__file__).resolve().parents[2] / "config.toml"
SETTING = re.compile(r"^# (?=[a-z_0-9]+ = )", re.MULTILINE)


@pytest.fixture(autouse=True)
def _nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable and no file of this machine plays a part."""
    for name in list(os.environ):
        if name.startswith(("MONGOPG_", "PG")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def _file(text: str, mode: int = 0o600) -> Path:
    file = Path("config.toml")
    file.write_text(text)
    file.chmod(mode)
    return file


def _refusal(text: str = "", **flags: object) -> str:
    _file(text)
    with pytest.raises(UsageError) as caught:
        load_settings(None, {key.replace("__", "."): value for key, value in flags.items()})
    assert "\n" not in caught.value.message
    return caught.value.message


# --- the documented example -------------------------------------------------------------------------------------------


def test_the_example_names_every_setting_with_its_default() -> None:
    example = tomllib.loads(SETTING.sub("", EXAMPLE.read_text()))
    defaults = reveal(Settings())
    assert example["run"].pop("cluster_size") == 8
    assert defaults["run"].pop("cluster_size") == CLUSTER_SIZE.default
    assert example == defaults


def test_the_example_as_it_stands_changes_nothing() -> None:
    loaded = load_settings(EXAMPLE, {})
    assert loaded.settings == Settings()
    assert set(loaded.provenance.values()) == {"default"}
    assert loaded.warnings == ()


def test_the_cluster_size_may_be_auto_wherever_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    _file('[run]\ncluster_size = "auto"')
    run = load_settings(None, {}).settings.run
    assert (run.cluster_size, run.workers) == ("auto", CLUSTER_SIZE.default)
    monkeypatch.setenv("MONGOPG_RUN_CLUSTER_SIZE", "AUTO:100-120")
    run = load_settings(None, {}).settings.run
    assert (run.cluster_size, run.workers) == ("auto:100-120", 100)
    settings = load_settings(None, {"run.cluster_size": "auto: 1 - 2"}).settings
    assert (settings.run.cluster_size, settings.run.workers) == ("auto:1-2", min(2, CLUSTER_SIZE.default))
    assert Settings.model_validate(reveal(settings)) == settings
    assert merged(settings, {"run": {"cluster_size": 7}}).run.size == 7


def test_a_cluster_of_one_host_is_no_larger_than_that_can_have() -> None:
    with pytest.raises(KnobError, match="at most 128 on one host, not 500"):
        load_settings(None, {"run.cluster_size": "500"})
    loaded = load_settings(None, {"run.cluster_size": "500", "cluster.kind": "dask", "dask.scheduler": "local:2x4"})
    assert loaded.settings.run.workers == 500


# --- precedence -------------------------------------------------------------------------------------------------------


def test_flags_beat_the_environment_which_beats_the_file_which_beats_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _file('[run]\ncluster_size = 3\npage_size = 500\nmode = "append"\n[target]\nschema = "crm"')
    monkeypatch.setenv("MONGOPG_RUN_CLUSTER_SIZE", "4")
    monkeypatch.setenv("MONGOPG_RUN_PAGE_SIZE", "600")
    loaded = load_settings(None, {"run.cluster_size": "5", "run.throttle": None})
    assert (loaded.settings.run.cluster_size, loaded.settings.run.page_size) == (5, 600)
    assert (loaded.settings.run.mode, loaded.settings.target.schema_name) == ("append", "crm")
    assert loaded.provenance["run.cluster_size"] == "flag --cluster-size"
    assert loaded.provenance["run.page_size"] == "environment MONGOPG_RUN_PAGE_SIZE"
    assert loaded.provenance["run.mode"] == "file ./config.toml"
    assert loaded.provenance["run.throttle"] == "default"
    assert set(loaded.provenance) == set(setting_names())


def test_the_file_of_the_user_serves_where_there_is_none_here(tmp_path: Path) -> None:
    home = tmp_path / "xdg" / "mongopg-tui"
    home.mkdir(parents=True)
    (home / "config.toml").write_text("[seed]\nseed = 9\n")
    loaded = load_settings(None, {})
    assert loaded.settings.seed.seed == 9
    assert loaded.file == home / "config.toml"
    _file("[seed]\nseed = 10\n")
    assert load_settings(None, {}).settings.seed.seed == 10


def test_every_setting_has_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGOPG_SOURCE_URI", "mongodb://host/shop")
    monkeypatch.setenv("MONGOPG_TARGET_SCHEMA", "crm")
    monkeypatch.setenv("MONGOPG_RUN_COLLECTIONS", "shop.users, shop.orders:crm.orders")
    monkeypatch.setenv("MONGOPG_MAPPING_UUID_LEGACY", "java")
    monkeypatch.setenv("MONGOPG_SEED_INTO_EXISTING", "yes")
    monkeypatch.setenv("MONGOPG_COCKPIT_THEME", "")
    settings = load_settings(None, {}).settings
    assert settings.source.uri.get_secret_value() == "mongodb://host/shop"
    assert settings.target.schema_name == "crm"
    assert settings.run.collections == ["shop.users", "shop.orders:crm.orders"]
    assert settings.mapping.uuid_legacy == "java"
    assert settings.seed.into_existing is True
    assert settings.cockpit.theme == "textual-dark"
    monkeypatch.setenv("MONGOPG_RUN_COLLECTIONS", '["shop.a,b"]')
    assert load_settings(None, {}).settings.run.collections == ["shop.a,b"]


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        (r"shop.events\:archive:public.t, shop.a\,b", [r"shop.events\:archive:public.t", "shop.a,b"]),
        (r'["shop.events\\:archive", " shop. a "]', [r"shop.events\:archive", " shop. a "]),
        ("[red].users,{x}.y", ["[red].users", "{x}.y"]),
        ("[]", []),
    ],
)
def test_names_in_a_variable_may_hold_what_separates_them(
    monkeypatch: pytest.MonkeyPatch, text: str, entries: list[str]
) -> None:
    for name in ("COLLECTIONS", "EXCLUDE"):
        monkeypatch.setenv(f"MONGOPG_RUN_{name}", text)
    run = load_settings(None, {}).settings.run
    assert (run.collections, run.exclude) == (entries, entries)


def test_a_backslash_in_the_file_is_explained() -> None:
    assert "Single quotes leave backslashes as they are" in _refusal('[run]\ncollections = ["shop.events\\:archive"]')
    _file("[run]\ncollections = ['shop.events\\:archive', \"shop.a\\\\:b\", 'd.$${x', 'd.${y']\n")
    run = load_settings(None, {}).settings.run
    assert run.collections == [r"shop.events\:archive", r"shop.a\:b", "d.${x", "d.${y"]


def test_counts_may_be_written_as_people_write_them() -> None:
    _file('[run]\nthrottle = "off"\n')
    settings = load_settings(None, {"run.page_size": "10,000", "seed.count": "1_000_000"}).settings
    assert (settings.run.throttle, settings.run.page_size, settings.seed.count) == (0, 10_000, 1_000_000)


# --- variables and secrets --------------------------------------------------------------------------------------------


def test_texts_of_the_file_may_name_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "canary")
    _file(
        '[source]\nuri = "mongodb://u:${SHOP_PASSWORD}@h/d"\n[run]\ncollections = ["d.${SHOP_PASSWORD}", "d.$${x}"]',
        mode=0o644,
    )
    loaded = load_settings(None, {})
    assert loaded.settings.source.uri.get_secret_value() == "mongodb://u:canary@h/d"
    assert loaded.settings.run.collections == ["d.canary", "d.${x}"]
    assert loaded.warnings == ()


def test_a_variable_that_is_not_there_is_named() -> None:
    message = _refusal('[source]\nuri = "mongodb://u:${SHOP_PASSWORD}@h/d"')
    assert (
        message
        == "source.uri in ./config.toml uses ${SHOP_PASSWORD}, but there is no environment variable SHOP_PASSWORD."
    )


def test_connection_strings_may_come_from_files_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here" / "source.secret").write_text("mongodb://u:canary@h/d\n")
    _file('[source]\nuri_file = "source.secret"\n')
    loaded = load_settings(None, {})
    assert loaded.settings.source.uri.get_secret_value() == "mongodb://u:canary@h/d"
    assert loaded.provenance["source.uri"] == "file source.secret"
    stronger = load_settings(None, {"source.uri": "mongodb://flag/d"})
    assert stronger.settings.source.uri.get_secret_value() == "mongodb://flag/d"
    monkeypatch.setenv("MONGOPG_TARGET_URI_FILE", str(tmp_path / "absent"))
    assert "MONGOPG_TARGET_URI_FILE names" in _refusal()
    monkeypatch.setenv("MONGOPG_TARGET_URI_FILE", "~nobody.at.all/secret")
    assert "there is no user with such a home" in _refusal()


def test_a_string_and_a_file_for_it_in_one_place_are_refused() -> None:
    message = _refusal('[target]\nuri = "postgresql://h/d"\nuri_file = "x"')
    assert message == "target.uri_file in ./config.toml: give target.uri or target.uri_file, not both."


def test_a_password_that_others_can_read_is_warned_about() -> None:
    text = '[target]\nuri = "postgresql://u:canary@h/d"\n'
    _file(text, mode=0o644)
    (warning,) = load_settings(None, {}).warnings
    assert "./config.toml holds the password of target.uri" in warning
    assert "chmod 600" in warning
    assert "canary" not in warning
    _file(text, mode=0o600)
    assert load_settings(None, {}).warnings == ()


def test_a_file_with_a_password_that_others_can_read_is_warned_about() -> None:
    _file('[target]\nuri_file = "target.secret"\n')
    secret = Path("target.secret")
    secret.write_text("postgresql://u:canary@h/d\n")
    secret.chmod(0o644)
    (warning,) = load_settings(None, {}).warnings
    assert (
        warning
        == "target.secret holds the password of target.uri and other users may read it: `chmod 600 target.secret`."
    )
    secret.chmod(0o600)
    assert load_settings(None, {}).warnings == ()


def test_a_password_on_the_command_line_works_and_is_warned_about() -> None:
    loaded = load_settings(None, {"source.uri": "mongodb://u:canary@h/d", "target.uri": "postgresql://u@h/d"})
    assert loaded.settings.source.uri.get_secret_value() == "mongodb://u:canary@h/d"
    (warning,) = loaded.warnings
    assert "--source" in warning
    assert "MONGOPG_SOURCE_URI" in warning
    assert "canary" not in warning


# --- mistakes ---------------------------------------------------------------------------------------------------------


def test_a_file_is_named_as_it_is_written() -> None:
    Path("in").mkdir()
    Path("in/mine.toml").write_text("[run]\nclustersize = 3")
    with pytest.raises(UsageError, match=r"^in/mine\.toml has run\.clustersize, but there is no such setting"):
        load_settings(Path("in/mine.toml"), {})


def test_unknown_keys_are_answered_with_the_nearest() -> None:
    hint = "but there is no such setting; did you mean run.cluster_size?"
    assert _refusal("[run]\nclustersize = 3") == f"./config.toml has run.clustersize, {hint}"
    assert _refusal("[runn]\nmode = 3").endswith("but there is no such section; did you mean [run]?")
    assert _refusal('[run]\nuri = "x"').endswith("did you mean source.uri?")
    assert _refusal("[run]\nzzz = 1").endswith(
        "[run] has collections, mode, consistency, order, cluster_size, page_size, throttle, converter, census, checksum, "
        "sample_size, limit, max_rejects, indexes, unique, exclude, replace_drops."
    )


def test_unknown_variables_of_a_section_are_refused_and_near_sections_warned_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MONGOPG_RUNS_PAGE_SIZE", "1")
    monkeypatch.setenv("MONGOPG_CRASH_AT", "pre_commit:1")
    (warning,) = load_settings(None, {}).warnings
    assert warning.startswith("MONGOPG_RUNS_PAGE_SIZE is ignored")
    monkeypatch.setenv("MONGOPG_RUN_PAGSIZE", "1")
    assert "did you mean MONGOPG_RUN_PAGE_SIZE?" in _refusal()


def test_a_section_given_as_one_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGOPG_SEED", "5")
    assert _refusal() == "MONGOPG_SEED must name a setting too: MONGOPG_SEED_NAME."
    monkeypatch.delenv("MONGOPG_SEED")
    monkeypatch.setenv("MONGOPG_RUN_COLLECTIONS", '["shop.users"')
    assert "MONGOPG_..._COLLECTIONS in the environment is not valid JSON" in _refusal()


def test_wrong_values_are_answered_with_what_the_setting_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = "must be a whole number between 1 and 1,024, auto, or auto:4-16"
    assert _refusal("[run]\ncluster_size = 9999") == f"run.cluster_size in ./config.toml {bounds}, not 9999."
    assert _refusal(run__cluster_size="abc") == f"--cluster-size {bounds}, not 'abc'."
    assert _refusal(run__cluster_size="auto:9-4") == f"--cluster-size {bounds}, not 'auto:9-4'."
    assert _refusal(run__mode="apend").endswith(
        "must be one of create, append, replace, upsert, not 'apend'; did you mean append?"
    )
    assert _refusal('[mapping]\nuuid_legacy = "c"').endswith("must be one of '', python, java, csharp, not 'c'.")
    assert _refusal('[seed]\ninto_existing = "maybe"').endswith("must be true or false, not 'maybe'.")
    assert _refusal('[run]\ncollections = "shop.users"').endswith("must be a list of texts, not 'shop.users'.")
    assert _refusal("[seed]\ncollection = 3").endswith("must be text, not 3.")
    assert _refusal("[seed]\nseed = 1.5").endswith("must be a whole number, not 1.5.")
    monkeypatch.setenv("MONGOPG_RUN_PAGE_SIZE", "1")
    assert _refusal() == "MONGOPG_RUN_PAGE_SIZE must be a whole number between 100 and 100,000, not 1."


def test_a_connection_string_of_another_kind_is_refused_without_showing_it() -> None:
    message = _refusal(source__uri="http://u:canary@h/d")
    assert message == "--source must begin with mongodb:// or mongodb+srv://."
    assert _refusal('[target]\nuri = "mongodb://h/d"').endswith("must begin with postgresql:// or postgres://.")
    assert _refusal("[target]\nuri = 7").endswith("must be text.")


def test_a_byte_order_mark_at_the_beginning_of_a_file_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "uri").write_text("\ufeffmongodb://db1/shop\r\n", encoding="utf-8")
    Path("config.toml").write_text(
        f'\ufeff[source]\r\nuri_file = "{tmp_path / "uri"}"\r\n[target]\r\nuri = "file:{tmp_path / "target"}"\r\n',
        encoding="utf-8", newline="",
    )  # fmt: skip
    (tmp_path / "target").write_text("\ufeffpostgresql://pg1/shop", encoding="utf-8")
    settings = load_settings(Path("config.toml"), {}).settings
    assert settings.source.connection == "mongodb://db1/shop"
    assert settings.target.connection == "postgresql://pg1/shop"


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.toml cannot be read: No such file or directory"):
        load_settings(tmp_path / "absent.toml", {})
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        load_settings(tmp_path, {})
    assert _refusal("[run\n").startswith("The configuration file ./config.toml is not valid TOML: ")
    assert _refusal("run = 3") == "./config.toml: run must be a section, [run], with its settings below."
    Path("config.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="is not valid TOML"):
        load_settings(None, {})


# --- redaction --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mongodb://app:canary@db1/shop", "mongodb://app:***@db1/shop"),
        ("mongodb+srv://app:can%40ary@db1/shop?w=1", "mongodb+srv://app:***@db1/shop?w=1"),
        ("see mongodb://a:canary@x,y:27018/d or not", "see mongodb://a:***@x,y:27018/d or not"),
        ("postgresql://u:can@a/r#y?@h/d", "postgresql://u:***@h/d"),
        ("postgres://u@h:5432/d?password=canary&x=1", "postgres://u@h:5432/d?password=***&x=1"),
        ("?sslpassword=canary", "?sslpassword=***"),
        ("tlsCertificateKeyFilePassword=canary&tls=true", "tlsCertificateKeyFilePassword=***&tls=true"),
        ("MongoClient(tlscertificatekeyfilepassword='can ary')", "MongoClient(tlscertificatekeyfilepassword=***)"),
        ("?authMechanismProperties=AWS_SESSION_TOKEN:canary&a=b", "?authMechanismProperties=***&a=b"),
        ('{"password": "canary"}', '{"password": ***}'),
        ("uri=mongodb%3A%2F%2Fapp%3Acanary%40db1%2Fshop", "uri=mongodb%3A%2F%2Fapp%3A***%40db1%2Fshop"),
        ("PGPASSWORD=canary psql", "PGPASSWORD=*** psql"),
        ("mongodb://db1:27017/shop", "mongodb://db1:27017/shop"),
        ('password authentication failed for user "mig"', 'password authentication failed for user "mig"'),
    ],
)
def test_secrets_are_taken_out_of_text(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(redact(text)) == shown


def test_a_connection_string_without_a_password_holds_no_secret() -> None:
    assert not holds_secret("mongodb://app@db1:27017,db2:27017/shop?tls=true")
    assert not holds_secret("postgresql://u:@h/d")
    assert holds_secret("postgresql://u:p@h/d")
    assert holds_secret("postgresql://u@h/d?password=p")


# --- passwords --------------------------------------------------------------------------------------------------------


def test_a_password_may_stand_apart_from_its_connection_string(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGOPG_SOURCE_PASSWORD", "p/w")
    monkeypatch.setenv("PGPASSWORD", "from libpq")
    loaded = load_settings(None, {"source.uri": "mongodb://me@h/d", "target.uri": "postgresql://me@h/d"})
    assert loaded.settings.source.connection == "mongodb://me:p%2Fw@h/d"
    assert loaded.settings.target.connection == "postgresql://me@h/d?password=from%20libpq"
    assert loaded.provenance["target.password"] == "environment PGPASSWORD"
    monkeypatch.setenv("MONGOPG_TARGET_PASSWORD", "ours")
    assert load_settings(None, {}).settings.target.password.get_secret_value() == "ours"


def test_a_password_setting_that_others_can_read_is_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    _file('[source]\npassword = "canary"\n', mode=0o640)
    (warning,) = load_settings(None, {}).warnings
    assert "./config.toml holds source.password and other users may read it" in warning
    assert "canary" not in warning
    monkeypatch.setenv("SHOP_PASSWORD", "canary")
    _file('[source]\npassword = "${SHOP_PASSWORD}"\n', mode=0o644)
    assert load_settings(None, {}).warnings == ()


def test_the_engine_inherits_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGOPG_SOURCE_URI", "mongodb://me:canary-one@h/d")
    monkeypatch.setenv("PGPASSWORD", "canary-two")
    monkeypatch.setenv("SHOP_PASSWORD", "canary-three")
    _file('[target]\nuri = "postgresql://me@h/d"\n[source]\npassword = "${SHOP_PASSWORD}"\n')
    environment = _environment(load_settings(None, {}).settings)
    assert "canary" not in str(environment)
    assert environment["PATH"] == os.environ["PATH"]


def test_the_folder_of_the_demo_may_be_in_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/op")
    assert DemoSettings(dir="~/demo").folder == Path("/home/op/demo")
    assert DemoSettings(dir="~nobody-of-that-name/demo").folder == Path("~nobody-of-that-name/demo")
    assert DemoSettings().folder is None


def test_an_entry_of_a_list_is_refused_with_what_the_list_takes() -> None:
    assert _refusal("[run]\ncollections = [5]") == "run.collections in ./config.toml must be a list of texts, not [5]."
