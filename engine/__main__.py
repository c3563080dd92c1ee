"""The engine process: `python -P -m engine RUN_ID`, with settings as one JSON line on standard input.

What others wait for comes first: the socket, so that the next engine, which cleans up after one that was killed, finds what it
left, and the fork server, which must be made of a process that has no thread yet.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import resource
import sys
from pathlib import Path
from typing import NoReturn, TextIO

from engine import logs
from engine.cluster import fork_server
from engine.errors import MigrationError
from engine.service import log_files, sockets

log = logging.getLogger("engine")


def main() -> None:
    """Run the engine named by the first argument."""
    run_id = sys.argv[1]
    logs.set_up()
    _forbid_core_dumps()
    answers = _keep_answers()
    path = Path("its folder")
    try:
        listeners = sockets.listen_everywhere(run_id)
        path = next(iter(listeners))
        fork_server.fork_off([sockets.own_folder(each) for each in reversed(listeners)])  # the lasting one first
    except MigrationError as error:
        _refuse(answers, error.code, error.message)
    except OSError as error:
        _refuse(answers, "engine_start", f"The engine cannot listen in {path}: {type(error).__name__}.")
    try:
        gc.disable()  # what is imported stays: looking for garbage among it takes a quarter of the time
        from engine.service import server

        gc.freeze()
        gc.enable()
        server.run(run_id, listeners, answers)
    except BrokenPipeError:
        log.info("the front end that started this engine was gone before it could answer")
        sys.exit(1)
    finally:
        sockets.forget(path)
        with contextlib.suppress(MigrationError):
            log_files.drop_if_empty(sockets.log_path(run_id))
    _leave()


def _leave() -> NoReturn:
    """End at once: nothing is left to do, and MongoDB's driver would wait up to half a second for threads that sleep."""
    logging.shutdown()
    os._exit(0)


def _keep_answers() -> TextIO:
    """Standard output, for our one line; the front end closes its side then, so nothing else in here may write to it."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def _refuse(answers: TextIO, code: str, message: str) -> NoReturn:
    with contextlib.suppress(BrokenPipeError), answers:  # the front end is gone
        answers.write(json.dumps({"error": {"code": code, "message": message}}) + "\n")
    sys.exit(1)


def _forbid_core_dumps() -> None:
    """Secrets live in this process's memory, and its children's: they must not reach a core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
