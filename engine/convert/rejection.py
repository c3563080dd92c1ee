"""Why a document cannot become a row: the reasons, and the exception that carries one out of nested values."""

from __future__ import annotations

from engine.mapping.kinds import KIND_NAMES
from engine.mapping.model import Kind

NUL, UTF8, DATE_RANGE, OVERFLOW = "nul", "utf8", "date_range", "overflow"
ID_KIND, ID_TOO_LONG, CORRUPT = "id_kind", "id_too_long", "corrupt"
NOT_NULL, TOO_LONG = "not_null", "too_long"

DETAILS = {
    NUL: "a NUL character",
    UTF8: "not UTF-8",
    DATE_RANGE: "a date outside PostgreSQL's range",
    ID_TOO_LONG: "longer than an index entry can be",
    NOT_NULL: "no value for a column that is NOT NULL",
    TOO_LONG: "more characters than the column holds",
    CORRUPT: "not BSON",
}
"""What is said of each reason, the same in both converters; `misfit_detail` for the others."""
UNKNOWN_FIELD_DETAIL = "a field without a column"
MISSING_ID_DETAIL = "no _id"


class RejectedError(Exception):
    """The document cannot be written as mapped.

    Args:
        reason: a reason code, as in `engine.rows.Reject`.
        detail: a few words; those of `DETAILS` when not given.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail or DETAILS[reason]
        self.keys: list[bytes] = []
        """Keys of the value at fault, the innermost first; each level adds its own as the exception passes."""

    @property
    def field(self) -> str:
        """Dotted path of the value at fault."""
        return ".".join(key.decode(errors="replace") for key in reversed(self.keys))


def misfit_detail(kind: Kind) -> str:
    """What is said of a value that does not fit its column."""
    return f"{KIND_NAMES[kind]} does not fit the column"
