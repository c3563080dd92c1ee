"""Settings, knobs and commands for the reference, from the schema, the knobs and the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_args, get_origin

import typer
from annotated_types import Ge, Le
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from engine.config import Settings, variable_of
from engine.knobs import ALIASES, CLUSTER_SIZE, KNOBS, Knob
from tests.docs.markdown import one_line, spelled, table, texts_below
from tui.cli import commands as cli
from tui.cli.options import OPTIONS

OF_THIS_MACHINE = {"run.cluster_size": "2 × cores, at most 8"}
"""Defaults that are not the same everywhere, in words."""


def settings_section() -> str:
    """A table for each section."""
    parts = []
    for section, info in Settings.model_fields.items():
        model = info.annotation
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            parts.append(f"### [{section}]\n\n{texts_below(Settings)[section]}")
            continue
        parts.append(f"### [{section}]\n\n{one_line(model.__doc__)}")
        headings = ["setting", "default", "takes", "variable", "flag", "what it does"]
        parts.append(table(headings, setting_rows(section, model)))
    return "\n\n".join(parts)


def setting_rows(section: str, model: type[BaseModel]) -> Iterator[list[str]]:
    texts = texts_below(model)
    for field, info in model.model_fields.items():
        name = f"{section}.{info.alias or field}"
        given = ", ".join(f"`{flag}`" for flag in dict.fromkeys(flag for flag, _ in flags_of(name)))
        yield [
            f"`{info.alias or field}`", OF_THIS_MACHINE.get(name) or f"`{default_of(info)}`", takes(info),
            f"`{variable_of(name)}`", given, texts[field],
        ]  # fmt: skip


def default_of(info: FieldInfo) -> str:
    default = info.get_default(call_default_factory=True)
    return spelled(default.get_secret_value() if isinstance(default, SecretStr) else default)


def takes(info: FieldInfo) -> str:
    """What a setting may be."""
    if info.description:
        return info.description
    kind: Any = info.annotation
    if choices := get_args(kind) if get_origin(kind) is not list else ():
        return ", ".join(f"`{spelled(choice)}`" for choice in choices)
    low = next((limit.ge for limit in info.metadata if isinstance(limit, Ge)), None)
    high = next((limit.le for limit in info.metadata if isinstance(limit, Le)), None)
    if low is not None and high is not None:
        return f"{low:,} to {high:,}"
    return {bool: "`true`, `false`", int: "a whole number", SecretStr: "text, a secret"}.get(
        kind, "a list of texts" if get_origin(kind) is list else "text"
    )


# --- flags, as the command line gives them to the settings ------------------------------------------------------------


def flags_of(setting: str) -> list[tuple[str, str]]:
    """The flags that give a setting, each with its command."""
    return flags().get(setting, [])


@cache
def flags() -> Mapping[str, list[tuple[str, str]]]:
    """Setting -> flags, of every command that takes the option."""
    found: dict[str, list[tuple[str, str]]] = {}
    for function, _, command in commands():
        for parameter in command.params:
            if option := OPTIONS.get(parameter.name):
                found.setdefault(option.setting, []).append((str(parameter.opts[0]), function))
    return found


def commands() -> list[tuple[str, str, Any]]:
    """Every command: its function's name, its own name (empty for the program itself), its parser."""
    group: Any = typer.main.get_command(cli.application(cli.COMMANDS))
    assert group.callback is not None
    return [(group.callback.__name__, "", group)] + [
        (command.callback.__name__, name, command) for name, command in group.commands.items()
    ]


def commands_section() -> str:
    """Every command with its options."""
    parts = []
    for _, name, command in commands():
        words = [f"mongopg-tui {name}".strip(), *(spelling(one) for one in command.params if is_argument(one))]
        parts.append(f"### `{' '.join(words)}`\n\n{one_line(command.help)}")
        rows = [[f"`{spelling(one)}`", one_line(one.help)] for one in command.params]
        parts.append(table(["argument or option", "what it does"], rows))
        if examples := cli.examples_of(name):
            parts.append("\n".join(["```", *(f"{words}  # {what}" for words, what in examples), "```"]))
    return "\n\n".join(parts)


def is_argument(parameter: Any) -> bool:
    """It has no dashes."""
    return str(parameter.param_type_name) == "argument"


def spelling(parameter: Any) -> str:
    """As it is typed: `--page-size N`."""
    if is_argument(parameter):
        return str(parameter.metavar)
    metavar = "" if parameter.is_flag else f" {parameter.metavar}"
    return ", ".join(parameter.opts) + metavar


def knobs_section() -> str:
    """The knobs with their bounds."""
    rows = [
        [", ".join(f"`{name}`" for name in (knob.name, *aliases_of(knob))), knob.unit,
         f"{knob.low:,} to {knob.high:,}{', 0 is off' if knob.zero_is_off else ''}",
         knob_default(knob), knob.help]
        for knob in KNOBS.values()
    ]  # fmt: skip
    return table(["knob", "unit", "bounds", "default", "what it is"], rows)


def aliases_of(knob: Knob) -> list[str]:
    """Its other names."""
    return [alias for alias, name in ALIASES.items() if name == knob.name]


def knob_default(knob: Knob) -> str:
    if knob is CLUSTER_SIZE:
        return OF_THIS_MACHINE["run.cluster_size"]
    return "off" if knob.zero_is_off and knob.default == 0 else f"{knob.default:,}"
