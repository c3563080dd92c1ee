"""Engines for the tests of this folder."""

from __future__ import annotations

from tests.engine.front_end import front_end as front_end
from tests.running import engines as engines
