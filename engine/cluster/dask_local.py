"""A Dask cluster on this host, for trying it: `python -P -m engine.cluster.dask_local HOSTS SLOTS`.

Prints one line of JSON, with the scheduler's address and what is needed to be let in, and lives until standard input is closed.
A line there is a number of hosts that it is to have from then on, at least.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from engine.cluster import host_start

NAMES = ("tls_ca_file", "tls_client_cert", "tls_client_key")
"""Of what a client is let in by."""


async def serve(hosts: int, slots: int, answers: int) -> None:
    """Have the cluster until standard input is closed.

    Its Dask workers are in this process: what they do is to start host processes and to carry parcels, and a process for
    each of them would import Dask once more before it can.

    Args:
        hosts: Dask workers.
        slots: threads of each.
        answers: descriptor for the line.
    """
    from engine.cluster.dask_api import LocalCluster

    security = own_security()
    async with LocalCluster(
        n_workers=hosts, threads_per_worker=slots, processes=False, asynchronous=True, protocol="tls://",
        security=security, dashboard_address=None, memory_limit=0, host="127.0.0.1",
    ) as cluster:  # fmt: skip
        told = {"scheduler": cluster.scheduler_address, "security": {name: getattr(security, name) for name in NAMES}}
        os.write(answers, json.dumps(told).encode() + b"\n")
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            hosts = max(hosts, int(line))
            await cluster.scale(hosts)


def own_security() -> Any:
    """A certificate for this cluster alone, as `Security.temporary` of Dask makes it, of a key that is made in no time."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    from engine.cluster.dask_api import Security

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mongopg-tui")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("mongopg-tui")]), critical=False)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
        .decode()
    )
    key_text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    of_each = {f"tls_{role}_{what}": text for role in ("scheduler", "worker", "client")
               for what, text in (("cert", certificate), ("key", key_text))}  # fmt: skip
    return Security(tls_ca_file=certificate, require_encryption=True, **of_each)


def main() -> None:
    """Serve so many hosts of so many slots each as the arguments say."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the engine ends us
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # its workers may print
    with contextlib.suppress(OSError):  # it is tried again when it is wanted
        host_start.start_early()
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), answers))


if __name__ == "__main__":
    main()
