"""The engine's log: JSON lines on standard error, of the engine and of its workers alike, without secrets.

Everything ends up there: what is logged, exceptions that were not caught, in threads too, and warnings.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from types import TracebackType

from engine.redaction import scrub

log = logging.getLogger("engine")


class JsonLines(logging.Formatter):
    """One JSON object a line, scrubbed: a value with a newline cannot forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        entry = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": scrub(record.getMessage()),
        }
        if record.exc_info:
            entry["traceback"] = scrub(self.formatException(record.exc_info))
        return json.dumps(entry)


def set_up() -> None:
    """Log from here on, in this process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.critical("the process ends for an exception", exc_info=(kind, error, trace))


def _uncaught_in_thread(facts: threading.ExceptHookArgs) -> None:
    if facts.exc_value is not None:
        log.error("a thread ended for an exception", exc_info=(facts.exc_type, facts.exc_value, facts.exc_traceback))
