"""The collection is dropped, renamed or made anew while it is copied: the run stops and says so, it does not end early."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.running import Engines, add_users, committed

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 12_000
SLOW = 1_000


def drop(source: Source) -> None:
    """It is gone."""
    source.db.users.drop()


def rename(source: Source) -> None:
    """It is there under another name."""
    source.db.users.rename("people")


def make_anew(source: Source) -> None:
    """Another one has taken its name."""
    source.db.users.drop()
    add_users(source, 100, seed=2)


@pytest.mark.parametrize(
    "change", [drop, pytest.param(make_anew, marks=pytest.mark.slow), pytest.param(rename, marks=pytest.mark.slow)]
)
async def test_the_collection_is_not_the_same_any_more(
    change: Callable[[Source], None], source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    engine = await engines.launch(engines.settings("users", run={"throttle": SLOW, "page_size": 200}))
    await engine.start()
    await engine.until_written(1)

    change(source)

    await engine.set("throttle", 0)
    end = await engine.finished()
    assert (end["state"], end["exit_code"], end["error"]["code"]) == ("failed", 1, "source_changed"), end
    assert f"{source.database}.users was dropped or renamed" in end["error"]["message"]
    assert committed(target) == end["written"] < USERS
    await engine.leave()
    await engine.until_gone()

    if change is make_anew:
        _, refused = await engines.run(resume="")
        assert (refused["state"], refused["error"]["code"]) == ("failed", "source_changed")
        assert committed(target) == end["written"]
