"""A client of one member of a replica set, also where servers are looked up in DNS: the same login, and no other server."""

from __future__ import annotations

from typing import Any

import pytest

from engine.mongo import connect
from engine.mongo.connect import Client

SRV = "mongodb+srv://ada:secret@cluster0.example.net/shop?retryWrites=true&readPreference=secondary&srvMaxHosts=2"
TXT = {"authsource": "admin", "replicaset": "atlas-1", "tls": True}


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Strings whose servers were looked up."""
    asked: list[str] = []

    def parse_uri(uri: str, **_: object) -> dict[str, Any]:
        asked.append(uri)
        return {"options": TXT}

    monkeypatch.setattr(connect, "parse_uri", parse_uri)
    return asked


def pinned(uri: str) -> Client:
    return connect.connect(uri, app_name="test", probe=False, member="db2.example.net:27018")


@pytest.mark.parametrize(("more", "has_tls"), [("", True), ("&tls=false", False)])
def test_a_member_behind_srv_is_asked_alone_with_what_dns_says_of_the_login(
    more: str, has_tls: bool, dns: list[str]
) -> None:
    with pinned(SRV + more) as client:
        options = client.options
        assert dns, "the TXT record says where the login is"
        assert list(client.topology_description.server_descriptions()) == [("db2.example.net", 27018)]
        assert client.topology_description.topology_type_name == "Single"
        assert options.replica_set_name is None
        assert (options.pool_options._ssl_context is not None) is has_tls
        credentials = options.pool_options._credentials
        assert credentials is not None
        assert (credentials.username, credentials.password, credentials.source) == ("ada", "secret", "admin")
        assert options.retry_writes


def test_without_srv_nothing_is_looked_up(dns: list[str]) -> None:
    with pinned(
        "mongodb://ada:secret@db1.example.net,db2.example.net:27018/shop?replicaSet=rs0&authSource=shop"
    ) as client:
        assert dns == []
        assert client.topology_description.topology_type_name == "Single"
        credentials = client.options.pool_options._credentials
        assert credentials is not None
        assert credentials.source == "shop"
