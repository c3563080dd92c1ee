"""Documents to rows: BSON to bytes of COPY's binary format, by a native or a plain converter that agree byte for byte.

::

    interface          what a converter does
    rejection          why a document cannot become a row
    layout             a mapping made ready: which field goes to which column, by which encoder
    encoders           one value to one field
    dates, decimals, strings, scalars, jsontext    kinds of values, as fields or as text
    keysize            how long a jsonb `_id` becomes inside an index
    narrow             what columns that are there hold less of than their type
    plain              the plain converter, the reference for the native one
    native             the native one, in Cython
    census, native_census      counting the fields of documents
    numbers, native_numbers    numbers read on their own, for full verification
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from engine.convert.interface import Converter
from engine.convert.plain import PlainConverter
from engine.errors import UsageError
from engine.mapping.model import Mapping

Preference = Literal["auto", "native", "plain"]

_NATIVE_MODULE = "engine.convert.native"


def make_converter(
    mapping: Mapping, preference: Preference = "auto", *, has_checksum: bool = True, native: str = _NATIVE_MODULE
) -> Converter:
    """A converter for one mapping, for one thread at a time.

    Args:
        has_checksum: False leaves `Converted.checksum` 0.
        native: the module with the native converter; an installation may have been made without it.

    Raises:
        UsageError: the native converter is asked for and this installation has none, or the mapping contradicts itself.
    """
    if preference != "plain" and find_spec(native) is not None:
        from importlib import import_module

        converter: Converter = import_module(native).NativeConverter(mapping, has_checksum)
        return converter
    if preference == "native":
        raise UsageError(
            "The native converter is not built in this installation: set converter to auto or plain, "
            "or install again where there is a C compiler."
        )
    return PlainConverter(mapping, has_checksum=has_checksum)


def built_converters() -> tuple[Literal["native", "plain"], ...]:
    """The converters of this installation, the faster one first."""
    return ("native", "plain") if converter_name() == "native" else ("plain",)


def converter_name(preference: Preference = "auto") -> str:
    """Which converter `make_converter` would make: `native` or `plain`."""
    return "native" if preference != "plain" and find_spec(_NATIVE_MODULE) is not None else "plain"
