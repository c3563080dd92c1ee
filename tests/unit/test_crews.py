"""A cluster where the extra that it needs is not installed."""

from __future__ import annotations

import sys
from typing import Any, cast

import pytest

from engine.cluster.crews import Crews, look_at_cluster
from engine.config import Settings
from engine.errors import UsageError


@pytest.mark.parametrize("scheduler", ["local:1x1", "tls://scheduler:8786"])
async def test_a_cluster_without_the_extra_is_refused_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, scheduler: str
) -> None:
    for name in [
        name
        for name in sys.modules
        if name.startswith("engine.cluster.dask_") and name != "engine.cluster.dask_process"
    ]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("dask", "distributed"):
        monkeypatch.setitem(sys.modules, name, None)
    settings = Settings.model_validate({"cluster": {"kind": "dask"}, "dask": {"scheduler": scheduler}})
    words = r"A Dask cluster needs the extra dask \(\w+ is missing\): pip install 'mongopg-tui\[dask\]'\."
    with pytest.raises(UsageError, match=words) as refused:
        Crews().of(settings)(cast(Any, None))
    assert refused.value.exit_code == 2
    with pytest.raises(UsageError, match=words):
        await look_at_cluster(settings)
