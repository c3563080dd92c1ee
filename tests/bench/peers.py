"""Other tools, from PyPI in an environment of their own, and how they are told to copy one collection."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench import shapes
from tests.bench.measure import MARK, Ran, RunFailed, Watch
from tests.bench.ours import Servers

REQUIREMENTS = ("ingestr==1.0.78", "sling-linux-amd64==1.4.11")
SLING = "sling_linux_amd64/bin/sling-linux-amd64"
"""Its binary, within the environment's packages."""
LAST_WORDS = 500
"""Characters of a failed tool's output that are repeated."""


def install(folder: Path) -> Path:
    """The environment, made once; installing takes about half a minute."""
    environment = folder / "peers"
    stamp = environment / "installed.txt"
    wanted = "\n".join(REQUIREMENTS)
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        pip = [str(environment / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", *REQUIREMENTS], check=True)
        stamp.write_text(wanted)
    return environment


def ingestr(environment: Path, servers: Servers, collection: str) -> Ran:
    """Into typed columns, replacing the table `public.bench_ingestr`."""
    command = [str(environment / "bin" / "ingestr"), "ingest", "--yes", "--progress", "log"]
    command += ["--source-uri", servers.source_uri, "--source-table", f"{shapes.DATABASE}.{collection}"]
    command += ["--dest-uri", f"{servers.target_uri}?sslmode=disable", "--dest-table", "public.bench_ingestr"]
    return _run(command, servers, {"INGESTR_DISABLE_TELEMETRY": "true"})


def sling(environment: Path, servers: Servers, collection: str) -> Ran:
    """Into one jsonb column of the table `public.bench_sling`."""
    command = [str(next(environment.glob(f"lib/python*/site-packages/{SLING}"))), "run", "--mode", "full-refresh"]
    command += ["--src-conn", servers.source_uri, "--src-stream", f"{shapes.DATABASE}.{collection}"]
    command += ["--tgt-conn", f"{servers.target_uri}?sslmode=disable", "--tgt-object", "public.bench_sling"]
    return _run(command, servers, {"SLING_DISABLE_TELEMETRY": "TRUE", "SLING_HOME_DIR": str(servers.folder / "sling")})


def _run(command: list[str], servers: Servers, environment: dict[str, str]) -> Ran:
    mark = secrets.token_hex(8)
    with Watch(mark) as watch, tempfile.TemporaryDirectory(dir=servers.folder) as scratch:
        began = time.monotonic()
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=servers.folder,
            env=dict(os.environ) | environment | {MARK: mark, "HOME": str(servers.folder), "TMPDIR": scratch},
            check=False,
        )
        seconds = time.monotonic() - began
    if done.returncode != 0:
        raise RunFailed(f"exit code {done.returncode}: {(done.stdout + done.stderr).strip()[-LAST_WORDS:]}")
    return Ran(seconds, seconds, watch.cost)
