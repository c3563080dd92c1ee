"""Settings read from flags, environment and file, each with where it came from; every mistake is one sentence.

::

    flags {"run.cluster_size": "12"}  >  MONGOPG_RUN_CLUSTER_SIZE=12  >  [run] cluster_size = 12  >  default

Strings of the file may hold `${NAME}`, the environment variable of that name (`$${` is a plain `${`).
"""

from __future__ import annotations

import ast
import difflib
import inspect
import os
import re
import stat
import textwrap
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from engine import references
from engine.config import (
    ENDS,
    LIBPQ_PASSWORD,
    PREFIX,
    GuardSettings,
    Loaded,
    Settings,
    cluster_size_of,
    reveal,
    secrets_of,
    variable_of,
)
from engine.errors import UsageError
from engine.knobs import ALIASES
from engine.libpq import strings
from engine.libpq.resolve import is_password_of_service, read_words
from engine.mongo_needs import left_out
from engine.mongo_uri import read_uri
from engine.notation import split_list
from engine.redaction import holds_secret, know, may_be_repeated
from engine.validation import choices, fields, first_mistake, must_be, requirement, sentence

FLAG_NAMES = {
    "source.uri": "--source",
    "target.uri": "--target",
    "run.collections": "--collection",
    "run.limit": "--documents",
    "seed.count": "--seed-count",
    "dask.scheduler": "--dask",
    "cluster.kind": "--dask",
    "cockpit.mouse": "--no-mouse",
}
"""Flags that are not called after their setting."""
_SCHEMES = {"source.uri": ("mongodb://", "mongodb+srv://"), "target.uri": ("postgresql://", "postgres://")}
_COUNTS = frozenset({"run.cluster_size", "run.page_size", "run.throttle", "run.limit", "seed.count"}) | {
    f"guard.{name}" for name, info in GuardSettings.model_fields.items() if info.annotation in (int, float)
}
"""Settings that also take the spellings of the knobs: "10,000" and "off"."""
_VARIABLE = re.compile(r"\$\$\{|\$\{([^}]*)\}")
_JSON = re.compile(r'\s*(\{\s*["}]|\[\s*(["\]\[{]|-?\d))')
"""How a list or an object begins that is written as JSON."""
_KEYS = "keys"
"""The section whose names are not ours: commands' ids, which only a front end knows."""
_SHOWN_VALUE = 40
"""Characters of a wrong value that a message repeats."""


@dataclass(frozen=True, slots=True)
class _Given:
    """One value that was given, and how to speak of it."""

    value: Any
    provenance: str
    where: str


def load_settings(config_file: Path | None, flags: Mapping[str, object]) -> Loaded:
    """The settings in force.

    `flags` maps "section.name" to what was typed; None stands for a flag that was not given.

    Raises:
        UsageError: an unknown key, an invalid value, a file or variable that is not there.
    """
    warnings: list[str] = []
    file = _find_file(config_file)
    given: dict[str, _Given] = {}
    if file is not None:
        given.update(_from_file(file, warnings))
    given.update(_from_environment(warnings))
    given.update(_from_flags(flags, warnings))
    for side in ("source", "target"):
        _read_uri_file(given, side, file, warnings)
        _follow_reference(given, side)
    if (password := os.environ.get(LIBPQ_PASSWORD)) and not _service_has_password(given):
        given.setdefault("target.password", _Given(password, f"environment {LIBPQ_PASSWORD}", LIBPQ_PASSWORD))
    settings = _validated(given)
    know(secrets_of(settings))
    cluster_size_of(settings)
    for key, schemes in _SCHEMES.items():
        if key in given and given[key].value and not _is_connection_string(key, str(given[key].value)):
            raise UsageError(f"{given[key].where} must begin with {' or '.join(schemes)}.")
    settings = _with_words_of_target(settings, given, warnings)
    provenance = {key: given[key].provenance if key in given else "default" for key in setting_names()}
    return Loaded(settings, provenance, tuple(warnings), file)


def source_warnings(settings: Settings) -> list[str]:
    """A sentence for each option of the source's connection string that is left out; of one that is wrong, nothing yet."""
    try:
        return left_out(read_uri(settings.source.uri.get_secret_value()))
    except UsageError:
        return []


def target_warnings(settings: Settings) -> list[str]:
    """A sentence for each word of the target's connection string that does nothing here; of one that is wrong, nothing yet."""
    try:
        return list(read_words(settings.target.uri.get_secret_value()).warnings)
    except UsageError:
        return []


def _service_has_password(given: Mapping[str, _Given]) -> bool:
    """The service that the target's string names has a password, which wins over the environment's."""
    uri = given.get("target.uri")
    try:
        return uri is not None and is_password_of_service(str(uri.value))
    except UsageError:
        return False


def _is_connection_string(key: str, text: str) -> bool:
    return strings.is_connection_string(text) if key == "target.uri" else text.strip().startswith(_SCHEMES[key])


def _with_words_of_target(settings: Settings, given: dict[str, _Given], warnings: list[str]) -> Settings:
    """With the schema that the string names; what is wrong with the string is said where it is used, for not every command
    does.
    """
    uri = settings.target.uri.get_secret_value()
    if not uri.strip():
        return settings
    try:
        words = read_words(uri)
    except UsageError:
        return settings
    if not words.schema or words.schema == settings.target.schema_name:
        return settings
    if "target.schema" in given:
        warnings.append(
            f"target.uri names the schema {words.schema}, {given['target.schema'].where} another one, which is used."
        )
        return settings
    given["target.schema"] = _Given(words.schema, given["target.uri"].provenance, "target.uri")
    return _validated(given)


def changed(settings: Settings, changes: Mapping[str, object]) -> Settings:
    """`settings` with some of them changed, `{"section.name": what was typed}`.

    Raises:
        UsageError: a value is not valid; the sentence names the setting and what it takes.
    """
    known = reveal(settings)
    given = {f"{section}.{name}": value for section, values in known.items() for name, value in values.items()}
    return _validated({key: _Given(value, "screen", key) for key, value in (given | dict(changes)).items()})


def requirement_of(setting: str) -> str | None:
    """What `section.name` takes, as text; None when there are none for it."""
    section, _, name = setting.partition(".")
    return requirement(fields(_sections()[section])[name])


def choices_of(setting: str) -> tuple[str, ...]:
    """The words that `section.name` takes; empty when it takes something else."""
    section, _, name = setting.partition(".")
    return choices(fields(_sections()[section])[name])


@cache
def sentence_of(setting: str) -> str:
    """What `section.name` does: the words below it in the schema; empty where the program has come without its source."""
    section, _, name = setting.partition(".")
    model = _sections()[section]
    attribute = next((field for field, info in model.model_fields.items() if (info.alias or field) == name), "")
    return _sentences(model).get(attribute, "")


@cache
def _sentences(model: type[BaseModel]) -> Mapping[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(model)))
    except (OSError, SyntaxError):
        return {}
    (described,) = tree.body
    below = described.body if isinstance(described, ast.ClassDef) else []
    return {
        field.target.id: inspect.cleandoc(text.value.value).replace("\n", " ").replace("`", "")
        for field, text in pairwise(below)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def settings_folder() -> Path:
    """Where the settings of a user are: `$XDG_CONFIG_HOME/mongopg-tui`."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "mongopg-tui"


def setting_names() -> list[str]:
    """Every setting as "section.name", in the order of the schema."""
    return [f"{section}.{name}" for section, model in _sections().items() for name in fields(model)]


def _sections() -> dict[str, type[BaseModel]]:
    return {
        name: cast("type[BaseModel]", info.annotation) for name, info in Settings.model_fields.items() if name != _KEYS
    }


# --- the three places -------------------------------------------------------------------------------------------------


def _find_file(config_file: Path | None) -> Path | None:
    if config_file is not None:
        return config_file
    for candidate in (Path("config.toml"), settings_folder() / "config.toml"):
        if candidate.is_file():
            return candidate
    return None


def _from_file(file: Path, warnings: list[str]) -> dict[str, _Given]:
    shown = f"./{file}" if file == Path(file.name) else str(file)
    try:
        content = tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"The configuration file {shown} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        hint = " Single quotes leave backslashes as they are: 'db.events\\:archive'." if "\\" in str(error) else ""
        raise UsageError(
            f"The configuration file {shown} is not valid TOML: {str(error).rstrip('.')}.{hint}"
        ) from error
    given: dict[str, _Given] = {}
    given.update(_keys_from(content.pop(_KEYS, {}), shown))
    for section, values in content.items():
        _check_section(section, f"{shown} has", f"[{section}]")
        if not isinstance(values, dict):
            raise UsageError(f"{shown}: {section} must be a section, [{section}], with its settings below.")
        for name, raw in values.items():
            where = f"{section}.{name} in {shown}"
            setting = _setting(section, name, f"{shown} has", f"{section}.{name}")
            literal = _VARIABLE.sub("", raw) if isinstance(raw, str) else ""
            if (name == "password" and literal) or (name == "uri" and holds_secret(literal)):
                _warn_of_readable(file, shown, section, name, warnings)
            _add(given, setting, _Given(_interpolated(raw, where), f"file {shown}", where))
    return given


def _keys_from(table: Any, shown: str) -> dict[str, _Given]:
    """Ids and keys; `run.pause = "f10"` is a table in a table for TOML, `"run.pause" = "f10"` is not."""
    if not isinstance(table, dict):
        raise UsageError(f"{shown}: {_KEYS} must be a section, [{_KEYS}], with ids of commands and their keys below.")
    given: dict[str, _Given] = {}
    for name, value in table.items():
        within = value.items() if isinstance(value, dict) else [(None, value)]
        for rest, keys in within:
            command = name if rest is None else f"{name}.{rest}"
            where = f'"{command}" in [{_KEYS}] of {shown}'
            if not isinstance(keys, str):
                raise UsageError(f'{where} must be text, such as "f10" or "ctrl+t,p".')
            given[f"{_KEYS}.{command}"] = _Given(keys, f"file {shown}", where)
    return given


def _warn_of_readable(file: Path, shown: str, section: str, name: str, warnings: list[str]) -> None:
    if _is_readable_by_others(file):
        whose = f"the password of {section}.uri" if name == "uri" else f"{section}.password"
        warnings.append(
            f"{shown} holds {whose} and other users may read it: "
            f"`chmod 600 {shown}`, or write ${{NAME}} in its place, an environment variable that has it."
        )


def _is_readable_by_others(file: Path) -> bool:
    return bool(stat.S_IMODE(file.stat().st_mode) & (stat.S_IRGRP | stat.S_IROTH))


def _interpolated(raw: Any, where: str) -> Any:
    if isinstance(raw, list):
        return [_interpolated(item, where) for item in raw]
    if not isinstance(raw, str):
        return raw

    def value_of(found: re.Match[str]) -> str:
        if found[0].startswith("$$"):
            return found[0][1:]
        try:
            return os.environ[found[1]]
        except KeyError:
            raise UsageError(
                f"{where} uses ${{{found[1]}}}, but there is no environment variable {found[1]}."
            ) from None

    return _VARIABLE.sub(value_of, raw)


class _FromEnvironment(Settings, BaseSettings):
    """The schema, for pydantic-settings; never instantiated, so nothing but `_Variables` looks at the environment."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="_", env_nested_max_split=1, env_ignore_empty=True
    )


class _Variables(EnvSettingsSource):
    """Lists are JSON or separated by commas; a backslash before a comma makes it part of an entry."""

    def __init__(self, settings: type[BaseSettings]) -> None:
        super().__init__(settings)
        told = {f"{PREFIX}{name}".lower() for name in ENDS}
        self.env_vars = {name: value for name, value in self.env_vars.items() if name.lower() not in told}

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        if not _JSON.match(value):  # a bracket may also begin a name
            return split_list(value)
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError as error:
            raise UsageError(
                f"{PREFIX}..._{field_name.upper()} in the environment is not valid JSON: {error}; "
                "a list may also be written as words with commas between them. JSON wants a backslash written twice."
            ) from error


def _from_environment(warnings: list[str]) -> dict[str, _Given]:
    given: dict[str, _Given] = {}
    for section, values in _Variables(_FromEnvironment)().items():
        if section == _KEYS:
            raise UsageError(f"{PREFIX}{_KEYS.upper()} is in the environment, but keys are set in the file only.")
        if not isinstance(values, dict):
            raise UsageError(f"{PREFIX}{section.upper()} must name a setting too: {PREFIX}{section.upper()}_NAME.")
        for name, value in values.items():
            variable = variable_of(f"{section}.{name}")
            setting = _setting(section, name, "The environment has", variable)
            _add(given, setting, _Given(value, f"environment {variable}", variable))
    warnings.extend(_near_misses())
    return given


def _near_misses() -> Iterable[str]:
    """Variables that look like ours but whose section does not exist."""
    for variable in sorted(os.environ):
        section = variable.removeprefix(PREFIX).partition("_")[0].lower()
        if variable.startswith(PREFIX) and section not in _sections():
            near = difflib.get_close_matches(section, _sections(), 1, cutoff=0.7)
            if near:
                meant = f"{PREFIX}{near[0].upper()}_..."
                yield f"{variable} is ignored: there is no section {section!r}; did you mean {meant}?"


def _from_flags(flags: Mapping[str, object], warnings: list[str]) -> dict[str, _Given]:
    given: dict[str, _Given] = {}
    for key, value in flags.items():
        if value is None or value == []:
            continue
        name = key.partition(".")[2]
        flag = FLAG_NAMES.get(key, "--" + name.replace("_", "-"))
        given[key] = _Given(value, f"flag {flag}", flag)
        if key in _SCHEMES and holds_secret(str(value)):
            variable = variable_of(key)
            warnings.append(
                f"{flag} holds a password, which other users can see in the list of processes: use {variable}."
            )
    return given


def _read_uri_file(given: dict[str, _Given], side: str, config_file: Path | None, warnings: list[str]) -> None:
    """Put the content of `uri_file` where `uri` is, unless a stronger place gives a `uri`."""
    pointer = given.get(f"{side}.uri_file")
    if pointer is None or not pointer.value:
        return
    direct = given.get(f"{side}.uri")
    if direct is not None and direct.provenance == pointer.provenance:
        raise UsageError(f"{pointer.where}: give {side}.uri or {side}.uri_file, not both.")
    if direct is not None and _strength(direct) > _strength(pointer):
        return
    try:
        path = Path(str(pointer.value)).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{pointer.where} names {pointer.value}, but there is no user with such a home.") from error
    if pointer.provenance.startswith("file ") and config_file is not None:
        path = config_file.parent / path
    try:
        content = path.read_text("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"{pointer.where} names {path}, which cannot be read: {reason}.") from error
    if holds_secret(content) and _is_readable_by_others(path):
        warnings.append(f"{path} holds the password of {side}.uri and other users may read it: `chmod 600 {path}`.")
    given[f"{side}.uri"] = _Given(content, f"file {path}", f"The content of {path}")
    if f"{side}.password" not in given:  # what other hosts would read there lacks it
        given.setdefault(f"{side}.uri_from", _Given(f"file:{path.absolute()}", pointer.provenance, pointer.where))


def _follow_reference(given: dict[str, _Given], side: str) -> None:
    """Put what `uri` refers to where `uri` is."""
    item = given.get(f"{side}.uri")
    if item is None or not references.is_reference(str(item.value)):
        return
    reference = str(item.value).strip()
    content, place = references.resolve(reference, item.where), references.place_of(reference)
    given[f"{side}.uri"] = _Given(content, place, f"The content of {place}")
    if f"{side}.password" not in given:  # what other hosts would read there lacks it
        given.setdefault(f"{side}.uri_from", _Given(reference, item.provenance, item.where))


def _strength(given: _Given) -> int:
    return ("file", "environment", "flag").index(given.provenance.partition(" ")[0])


# --- checks -----------------------------------------------------------------------------------------------------------


def _check_section(section: str, who: str, shown: str) -> None:
    if section not in _sections():
        near = difflib.get_close_matches(section, Settings.model_fields, 1)
        hint = f"did you mean [{near[0]}]?" if near else f"the sections are {', '.join(Settings.model_fields)}."
        raise UsageError(f"{who} {shown}, but there is no such section; {hint}")


def _add(given: dict[str, _Given], setting: str, item: _Given) -> None:
    """Raises UsageError when the same place gives the setting twice, by its name and by an alias."""
    if setting in given:
        raise UsageError(f"{given[setting].where} and {item.where} are one setting: take one out.")
    given[setting] = item


def _setting(section: str, name: str, who: str, shown: str) -> str:
    """The setting of that name, or with an alias of that name; raises UsageError where there is none."""
    names = fields(_sections()[section])
    if name in names:
        return f"{section}.{name}"
    if ALIASES.get(name) in names:
        return f"{section}.{ALIASES[name]}"
    near = difflib.get_close_matches(name, [*names, *(alias for alias, meant in ALIASES.items() if meant in names)], 1)
    elsewhere = [key for key in setting_names() if key.partition(".")[2] == name]
    if near:
        hint = f"did you mean {shown.removesuffix(name).removesuffix(name.upper())}{_as_in(shown, near[0])}?"
    elif elsewhere:
        hint = f"did you mean {elsewhere[0]}?"
    else:
        hint = f"[{section}] has {', '.join(names)}."
    raise UsageError(f"{who} {shown}, but there is no such setting; {hint}")


def _as_in(shown: str, name: str) -> str:
    return name.upper() if shown.isupper() else name


def _validated(given: Mapping[str, _Given]) -> Settings:
    nested: dict[str, dict[str, Any]] = {}
    for key, item in given.items():
        section, _, name = key.partition(".")
        nested.setdefault(section, {})[name] = _plain_count(item.value) if key in _COUNTS else item.value
    try:
        return Settings.model_validate(nested)
    except ValidationError as error:
        mistake = first_mistake(error, Settings)
        assert mistake.info is not None  # names that are not known were refused before
        raise UsageError(
            _sentence(given[".".join(map(str, mistake.location[:2]))], mistake.info, mistake.words)
        ) from None


def _plain_count(value: Any) -> Any:
    """The spellings that `Knob.parse` takes, as plain digits."""
    if not isinstance(value, str):
        return value
    return "0" if value.strip().lower() == "off" else re.sub(r"[,_ ]", "", value)


def _sentence(item: _Given, info: FieldInfo, reason: str) -> str:
    words = requirement(info)
    if words is None:
        return f"{item.where} is not valid: {reason}."
    value = str(item.value)
    near = difflib.get_close_matches(value, choices(info), 1)
    # What is no word that was meant may be a password in the wrong place.
    if info.annotation is SecretStr or not (near or may_be_repeated(value)):
        return f"{item.where} must be {words}."
    said = value if value.lstrip("-").isdigit() else repr(item.value)
    said = said if len(said) <= _SHOWN_VALUE else said[:_SHOWN_VALUE] + "…"
    return sentence(must_be(item.where, words, value, choices(info), said))
