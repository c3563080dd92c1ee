"""Interrupts at moments of their own: while modules load, and before a bench has asked anything."""

from __future__ import annotations

import signal
from typing import cast

import pytest

from engine.config import Settings
from engine.errors import EXIT_CANCELLED
from engine.service.client import EngineClient
from tui.cli import entry
from tui.cli.bench import _Bench


def test_an_interrupt_that_python_wraps_into_another_error_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def loads(*_: object, **__: object) -> int:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as interrupt:  # as Python 3.11 does while a class of textual is made
            raise RuntimeError("Error calling __set_name__ on 'var' instance") from interrupt

    monkeypatch.setattr(entry, "application", lambda _: loads)
    assert entry.run_command_line(["seed"]) == EXIT_CANCELLED
    assert capsys.readouterr().err.strip() == "Error: Interrupted."


async def test_a_bench_that_is_interrupted_before_its_first_question_asks_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bench = _Bench(Settings(), may_grow=True, as_json=False)
    bench._interrupt(128 + signal.SIGINT)

    await bench._measure_all(cast(EngineClient, None))  # would fail if it were asked

    assert "the engine is being ended" in capsys.readouterr().err
