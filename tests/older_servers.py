"""What older servers do not know, for the tests that `make versions` runs against them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Source, Target

TIME_SERIES = (5, 0)
CLUSTERED = (5, 3)
"""MongoDB's first versions with such collections."""
PUBLISHED_PARTS = 15
"""PostgreSQL's first version whose publications may have columns and rows of a table."""
NAMED_NOT_NULL = 18
"""PostgreSQL's first version in which NOT NULL is a constraint with a name."""


def require_mongodb(source: Source, version: tuple[int, ...]) -> None:
    """Skip the test where the server is older than that."""
    if tuple(source.client.server_info()["versionArray"]) < version:
        pytest.skip(f"MongoDB {'.'.join(map(str, version))} or newer is needed")


def postgres_version(target: Target) -> int:
    """Such as 18."""
    return int(target.value("SELECT current_setting('server_version_num')")) // 10_000
