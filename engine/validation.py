"""What pydantic refused, told in one sentence: what has to be there, what was there instead, and what was meant perhaps.

Settings and saved plans are validated by pydantic and told of by this; how to speak of the place is theirs to know.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

SHOWN = 80
"""Characters of a foreign name or value that a message repeats."""

Location = tuple[int | str, ...]
"""Where in the data, from its top: names in objects, numbers in lists."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that pydantic refused."""

    kind: Literal["unknown", "missing", "refused", "wrong"]
    """A name that the model does not have; a value that is not there; one that a validator of ours refused; any other."""
    location: Location
    info: FieldInfo | None
    """The field, also where an entry of its list is wrong; None for an unknown name."""
    known: tuple[str, ...]
    """The names that stand beside it in the model."""
    value: Any
    words: str
    """What pydantic says, or what the validator said, without a full stop."""


def first_mistake(error: ValidationError, model: type[BaseModel]) -> Mistake:
    """The first thing that is wrong, but that a name which is not known comes before what is missing beside it."""
    found = error.errors(include_url=False)
    parent = found[0]["loc"][:-1]
    chosen = next(
        (each for each in found if each["type"] == "extra_forbidden" and each["loc"][:-1] == parent), found[0]
    )
    location, reason = chosen["loc"], chosen["ctx"].get("error") if "ctx" in chosen else None
    owner, info = _field_at(model, location)
    words = str(reason) if isinstance(reason, ValueError) else chosen["msg"]
    return Mistake(
        kind=_KINDS.get(chosen["type"], "wrong"),
        location=location,
        info=info,
        known=tuple(_names(owner)) if owner is not None else (),
        value=chosen["input"],
        words=words.rstrip("."),
    )


_KINDS: dict[str, Literal["unknown", "missing", "refused"]] = {
    "extra_forbidden": "unknown",
    "missing": "missing",
    "value_error": "refused",
}


def must_be(subject: str, requirement: str, value: object, choices: Iterable[object] = (), said: str = "") -> str:
    """That `subject` has another value than it takes, for `sentence`.

    Args:
        requirement: what it takes, as text.
        value: what it has.
        choices: words that it takes, one of which may have been meant.
        said: how a message is to show the value; otherwise as Python does.
    """
    near = difflib.get_close_matches(str(value), [str(choice) for choice in choices], 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{subject} must be {requirement}, not {said or shown(repr(value))}{hint}"


def sentence(words: str) -> str:
    """`words` with the stop that they lack."""
    return words if words.endswith("?") else f"{words}."


def meant(name: str, known: Iterable[str]) -> str:
    """The name that may have been meant instead of one that is not known, or all that there are; without a full stop."""
    names = list(known)
    near = difflib.get_close_matches(name, names, 1)
    return f"did you mean {near[0]}" if near else f"there are {', '.join(names)}"


def shown(text: str) -> str:
    """A foreign name within a message: short, on one line."""
    visible = "".join(letter if letter.isprintable() else "?" for letter in text[:SHOWN])
    return visible + ("…" if len(text) > SHOWN else "")


def requirement(info: FieldInfo) -> str | None:
    """What a field takes, as text; None when there are none for it."""
    if info.description:
        return info.description
    if words := choices(info):
        return "one of " + ", ".join(repr(word) if word == "" else word for word in words)
    if info.annotation in (int, float):
        kind = "a whole number" if info.annotation is int else "a number"
        low = next((limit.ge for limit in info.metadata if isinstance(limit, Ge)), None)
        high = next((limit.le for limit in info.metadata if isinstance(limit, Le)), None)
        return kind if low is None or high is None else f"{kind} between {low:,} and {high:,}"
    if info.annotation is bool:
        return "true or false"
    if info.annotation in (str, SecretStr):
        return "text"
    if get_origin(info.annotation) is list:
        return "a list of texts"
    return None


def choices(info: FieldInfo) -> tuple[str, ...]:
    """The words that a field takes; empty when it takes something else. None beside them stands for no value."""
    annotation = info.annotation
    if get_origin(annotation) in (Union, UnionType):
        annotation = next((each for each in get_args(annotation) if get_origin(each) is Literal), None)
    return tuple(map(str, get_args(annotation))) if get_origin(annotation) is Literal else ()


def fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a model, by the names that data has for them."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def _field_at(model: type[BaseModel], location: Location) -> tuple[type[BaseModel] | None, FieldInfo | None]:
    """The model that a place lies in, and the field that it is, or is an entry of."""
    owner: type[BaseModel] | None = model
    info = None
    for number, name in enumerate(location):
        if isinstance(name, int):
            continue
        info = fields(owner).get(name) if owner is not None else None
        if number < len(location) - 1 and info is not None:
            owner = _model_in(info.annotation) or owner
    return owner, info


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation holds: itself, within a list, or beside None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_in(each)) is not None), None)


def _names(model: type[BaseModel]) -> Iterable[str]:
    return fields(model)
