"""Which hosts are this machine: servers there need no TLS."""

from __future__ import annotations

import pytest

from engine import tls


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "127.0.0.1", "127.3.2.1", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "/run/pg"]
)
def test_loopback_in_whatever_spelling_is_this_machine(host: str) -> None:
    assert tls.is_local(host)


@pytest.mark.parametrize("host", ["db1", "10.0.0.1", "::ffff:10.0.0.1", "fe80::1", "0.0.0.0", "127.0.0.1.example.com"])
def test_every_other_host_is_not(host: str) -> None:
    assert not tls.is_local(host)
