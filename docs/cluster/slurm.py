"""A Dask cluster of Slurm jobs for mongopg-tui, as long as this runs: `python slurm.py`, on a node that may submit jobs.

Change the queue, the sizes and the folder, which all nodes must share. The scheduler's address is written to a file there.
"""

import sys
from pathlib import Path
from queue import Queue

from dask_jobqueue import SLURMCluster
from distributed import Client, Security

SHARED = Path.home() / "mongopg-cluster"
"""Holds what certificates.sh has made."""
NODES = 4
MOST_NODES = 16
"""As many as a run may ask for, with `dask.scale = true`; there are never fewer than there were."""
SECURITY = Security(
    require_encryption=True,
    tls_ca_file=str(SHARED / "ca.pem"),
    **{
        f"tls_{role}_{part}": str(SHARED / file)
        for role in ("scheduler", "worker", "client")
        for part, file in (("cert", "node.pem"), ("key", "node-key.pem"))
    },
)


def cluster() -> SLURMCluster:
    """One worker of Dask a node, with eight slots; it leaves before its job's time is over, and another job takes its place."""
    return SLURMCluster(
        queue="main",
        cores=8,
        processes=1,
        memory="16GB",
        walltime="02:00:00",
        worker_extra_args=["--lifetime", "110m", "--lifetime-stagger", "4m"],
        # Each node reads the connection strings where it runs, so that no secret is in a job's script.
        job_script_prologue=[f"export SHOP_URI=$(cat {SHARED}/source) PG_URI=$(cat {SHARED}/target)"],
        protocol="tls://",
        security=SECURITY,
    )


if __name__ == "__main__":
    wanted: Queue[int] = Queue()
    with cluster() as jobs, Client(jobs) as client:
        client.subscribe_topic("mongopg-scale", lambda event: wanted.put(event[1]["hosts"]))
        nodes = NODES
        jobs.adapt(minimum_jobs=nodes, maximum_jobs=nodes)
        (SHARED / "scheduler").write_text(f'{{"address": "{jobs.scheduler_address}"}}')
        sys.stdout.write(f"mongopg-tui run --dask {SHARED}/scheduler ...\n")
        while True:
            if (asked := min(wanted.get(), MOST_NODES)) > nodes:
                nodes = asked
                jobs.adapt(minimum_jobs=nodes, maximum_jobs=nodes)
