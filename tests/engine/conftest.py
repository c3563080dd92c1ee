"""Engines for the tests of this folder."""

from __future__ import annotations

from tests.running import engines as engines
