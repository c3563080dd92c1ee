"""`docs/cluster/slurm.py` with jobs that Slurm's commands, in a version of the tests' own, run on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engine.protocol import RunState
from tests.dask_cluster import children_of
from tests.running import Engines, add_users, assert_users_equal, eventually
from tests.signals import send_signal
from tests.slow_run import started

if TYPE_CHECKING:
    from tests.conftest import Source, Target

pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl(1) is not here")]

DOCUMENTS = Path(__file__).parents[2] / "docs" / "cluster"
SBATCH = """#!/bin/sh
cp "$1" "$JOBS/$$.sh"
setsid sh -c 'exec bash "$0" > "$0.log" 2>&1' "$JOBS/$$.sh" &
echo "$!" >> "$JOBS/started"
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
for job in "$@"; do kill -- "-$job" 2>/dev/null; done
exit 0
"""
START_S = 60.0


@dataclass(frozen=True, slots=True)
class Site:
    """What stands in for a cluster with Slurm."""

    shared: Path
    process: subprocess.Popen[bytes]

    @property
    def n_jobs(self) -> int:
        """Jobs that were submitted."""
        started = self.shared / "started"
        return len(started.read_text().split()) if started.exists() else 0

    @property
    def settings(self) -> dict[str, Any]:
        """Sections for an engine, as `docs/cluster.md` says."""
        files = {"ca_file": "ca.pem", "cert_file": "node.pem", "key_file": "node-key.pem"}
        dask = {name: str(self.shared / file) for name, file in files.items()}
        return {
            "cluster": {"kind": "dask"},
            "dask": dask | {"scheduler": str(self.shared / "scheduler"), "scale": True},
        }

    def log(self) -> str:
        """What its programs said."""
        return "\n".join(each.read_text(errors="replace")[-3_000:] for each in sorted(self.shared.glob("*.log")))


@pytest.fixture
async def site(tmp_path: Path, source: Source, target: Target) -> AsyncIterator[Site]:
    """The program runs; its first job, with two slots, is to come."""
    shared = tmp_path / "mongopg-cluster"
    subprocess.run(["sh", str(DOCUMENTS / "certificates.sh"), str(shared)], check=True, capture_output=True)
    (shared / "source").write_text(source.uri)
    (shared / "target").write_text(target.uri)
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (commands / name).write_text(text)
        (commands / name).chmod(0o700)
    program = (DOCUMENTS / "slurm.py").read_text()
    for given, ours in (("\nNODES = 4\n", "\nNODES = 1\n"), ("cores=8,", "cores=2,")):
        assert given in program
        program = program.replace(given, ours)
    (tmp_path / "slurm.py").write_text(program)
    environment = os.environ | {
        "HOME": str(tmp_path), "PATH": f"{commands}:{os.environ['PATH']}", "JOBS": str(shared),
        "DASK_DISTRIBUTED__COMM__RETRY__COUNT": "0",
    }  # fmt: skip
    with (shared / "program.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(tmp_path / "slurm.py")], env=environment, cwd=tmp_path,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    site = Site(shared, process)
    try:
        await eventually(lambda: (shared / "scheduler").exists(), START_S, site.log)
        yield site
    finally:
        jobs = (shared / "started").read_text().split() if (shared / "started").exists() else []
        for pid in [process.pid, *children_of(process.pid), *(each for job in jobs for each in children_of(int(job)))]:
            send_signal(pid, signal.SIGKILL)
        for job in jobs:
            send_signal(int(job), signal.SIGKILL)
        process.wait()


async def test_a_run_on_jobs_of_slurm_which_submits_more_of_them_when_they_are_wanted(
    engines: Engines, source: Source, target: Target, site: Site
) -> None:
    add_users(source, 12_000)
    places = {
        "source": {"uri": source.uri, "uri_from": "env:SHOP_URI"},
        "target": {"uri": target.uri, "uri_from": "env:PG_URI"},
    }
    engine = await started(engines, sections=site.settings | places, cluster_size=2, throttle=400)
    assert site.n_jobs == 1
    await engine.set("cluster_size", 4)
    await engine.until(lambda now: (now.workers_alive, len(now.hosts)) == (4, 2), "another job")
    assert site.n_jobs == 2
    await engine.set("throttle", 0)
    facts = await engine.finished()
    assert facts["state"] == RunState.COMPLETED
    assert_users_equal(source, target)
