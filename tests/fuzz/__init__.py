"""A coverage-guided search for batches that harm the native converter or census; see README.md."""

from __future__ import annotations

EXTENSIONS = ("native", "native_census")
"""Modules of `engine.convert` that are fuzzed."""
