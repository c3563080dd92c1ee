"""The start of a host process: `python -P -m engine.cluster.host_main FD`.

As in an engine, the fork server comes first: it is made of a process that has no thread yet.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import tempfile
from pathlib import Path

from engine import logs
from engine.cluster import fork_server


def main() -> None:
    """Serve at the descriptor that the first argument names."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what started us ends us
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    logs.set_up()
    with tempfile.TemporaryDirectory(prefix="mongopg-", dir=_folder_of_sockets()) as folder:
        fork_server.fork_off([Path(folder)])
        gc.disable()  # as in the engine
        from engine.cluster import host

        gc.freeze()
        gc.enable()
        host.run(int(sys.argv[1]))
    logging.shutdown()
    os._exit(0)  # a thread may still wait for a worker's end


def _folder_of_sockets() -> str | None:
    """Clusters have long names of temporary folders, and a socket's path must be short; None is the usual one."""
    short = "/tmp"  # noqa: S108 - what is made in it is ours alone
    return short if os.access(short, os.W_OK) else None


if __name__ == "__main__":
    main()
