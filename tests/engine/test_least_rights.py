"""The least that a run needs: `read` on one MongoDB database, one schema and the ledger's in PostgreSQL; and who gets in."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pymongo import MongoClient

from engine.config import Settings, merged
from engine.errors import ConnectError, MigrationError
from engine.mongo import connect as mongo
from engine.mongo import write_block
from engine.service import sockets
from tests.conftest import Source, Target
from tests.guarded import mongod_with_users
from tests.running import Engines, add_users, assert_users_equal
from tests.running import engines as engines

pytestmark = pytest.mark.slow

PASSWORD = "canary/of@least:rights"
QUOTED = "canary%2Fof%40least%3Arights"
NOBODY = 65_534
AS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root may act as another user")


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[int, MongoClient[dict[str, Any]]]]:
    """A MongoDB that asks who is there: its port, and its administrator."""
    with mongod_with_users() as server:
        yield server


@pytest.fixture
def shop(guarded: tuple[int, MongoClient[dict[str, Any]]]) -> Iterator[Source]:
    """A database with users, read by `reader`, who may do nothing else anywhere; `client` is the administrator's."""
    port, admin = guarded
    admin.shop.command("createUser", "reader", pwd=PASSWORD, roles=[{"role": "read", "db": "shop"}])
    uri = f"mongodb://reader:{QUOTED}@127.0.0.1:{port}/shop?directConnection=true"
    source = Source(uri, "shop", admin)
    add_users(source, 3_000)
    yield source
    admin.shop.command("dropUser", "reader")
    admin.drop_database("shop")


@pytest.fixture
def owner(target: Target) -> Iterator[Target]:
    """The target as seen by a role that may connect, and nothing else."""
    role = f"mover_{target.database}"
    target.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    target.execute(f"REVOKE ALL ON DATABASE {target.database} FROM public; REVOKE ALL ON SCHEMA public FROM public")
    target.execute(f"GRANT CONNECT ON DATABASE {target.database} TO {role}")
    netloc = urlsplit(target.uri).netloc.replace("postgres@", f"{role}:{QUOTED}@")
    yield Target(urlsplit(target.uri)._replace(netloc=netloc).geturl(), role, target.loop)
    target.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


def settings_between(source: Source, target: Target, *collections: str, **run: Any) -> Settings:
    named = {"collections": list(collections), "cluster_size": 2}
    return Settings.model_validate(
        {"source": {"uri": source.uri}, "target": {"uri": target.uri, "schema": "crm"}, "run": named | run}
    )


async def test_a_run_with_the_least_rights(engines: Engines, shop: Source, target: Target, owner: Target) -> None:
    for schema in ("crm", "mongopg"):
        target.execute(f'CREATE SCHEMA "{schema}" AUTHORIZATION {owner.database}')
    _, facts = await engines.run(settings_between(shop, owner))
    assert (facts["state"], facts["written"], facts["verification"]) == ("completed", 3_000, "verified")
    assert_users_equal(shop, target, table="crm.users")
    for mode in ("append", "upsert", "replace"):
        if mode != "append":
            target.execute(f"GRANT TEMPORARY ON DATABASE {target.database} TO {owner.database}")
        else:
            target.execute("DELETE FROM crm.users")
        _, facts = await engines.run(settings_between(shop, owner, "shop.users", mode=mode))
        assert (facts["state"], facts["written"]) == ("completed", 3_000), facts
        assert_users_equal(shop, target, table="crm.users")


async def test_what_the_target_lacks_is_one_message_that_can_be_run(
    engines: Engines, shop: Source, target: Target, owner: Target
) -> None:
    settings = settings_between(shop, owner, "shop.users", "shop.users:other.users")
    _, facts = await engines.run(settings)
    message = facts["error"]["message"]
    assert facts["exit_code"] == 2
    script = message.partition("as an administrator, run: ")[2]
    assert (
        script
        == "".join(
            f'CREATE SCHEMA "{schema}" AUTHORIZATION {owner.database}; ' for schema in ("mongopg", "crm", "other")
        ).rstrip()
    )
    target.execute(script)
    _, facts = await engines.run(settings)
    assert facts["state"] == "completed"


async def test_rights_on_schemas_of_others_are_asked_for(
    engines: Engines, shop: Source, target: Target, owner: Target
) -> None:
    target.execute("CREATE SCHEMA crm")
    _, facts = await engines.run(settings_between(shop, target, "shop.users"))
    assert facts["state"] == "completed", "an administrator made the ledger"
    settings = settings_between(shop, owner, "shop.users:crm.others")
    _, facts = await engines.run(settings)
    script = facts["error"]["message"].partition("as an administrator, run: ")[2]
    role = owner.database
    assert script == (
        f'GRANT USAGE, CREATE ON SCHEMA "mongopg" TO {role}; GRANT USAGE, CREATE ON SCHEMA "crm" TO {role}; '
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA mongopg TO {role};"
    )
    target.execute(script)
    _, facts = await engines.run(settings)
    assert facts["state"] == "completed", facts


async def test_what_the_source_lacks_is_a_command_that_can_be_run(
    engines: Engines, shop: Source, target: Target
) -> None:
    shop.client.vault.secrets.insert_one({})
    target.execute("CREATE SCHEMA crm")
    _, facts = await engines.run(settings_between(shop, target, "vault.secrets"))
    assert facts["exit_code"] == 2
    assert facts["error"]["message"] == (
        'The source\'s user "reader" lacks rights; as an administrator, run: '
        'db.getSiblingDB("shop").grantRolesToUser("reader", [{role: "read", db: "vault"}]);'
    )
    shop.client.shop.command("grantRolesToUser", "reader", roles=[{"role": "read", "db": "vault"}])
    _, facts = await engines.run(settings_between(shop, target, "vault.secrets"))
    assert facts["state"] == "completed"


async def test_seeding_needs_to_write(engines: Engines, shop: Source, target: Target) -> None:
    settings = merged(settings_between(shop, target), {"seed": {"collection": "shop.seeded", "count": 100}})
    _, facts = await engines.run(settings, seed=True, migrate=False)
    assert '[{role: "readWrite", db: "shop"}]' in facts["error"]["message"]


def test_a_user_without_any_right_is_told_before_anything_else(shop: Source) -> None:
    shop.client.shop.command("revokeRolesFromUser", "reader", roles=[{"role": "read", "db": "shop"}])
    with pytest.raises(ConnectError) as refused:
        mongo.connect(shop.uri, app_name="test")
    assert str(refused.value).endswith(
        'run: db.getSiblingDB("shop").grantRolesToUser("reader", [{role: "read", db: "shop"}]);'
    )


def test_a_login_that_is_missing_or_wrong(shop: Source) -> None:
    with pytest.raises(ConnectError, match="wants a login"):
        mongo.connect(shop.uri.replace(f"reader:{QUOTED}@", ""), app_name="test")
    with pytest.raises(ConnectError, match="refused the user name or the password") as refused:
        mongo.connect(shop.uri.replace(QUOTED, "wrong-canary"), app_name="test")
    assert "canary" not in str(refused.value)


# --- the control socket -----------------------------------------------------------------------------------------------

KNOCK = """
import os, socket, sys
user = int(sys.argv[2])
if user != os.getuid():  # in here, because another user may not be able to start this Python
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
with socket.socket(socket.AF_UNIX) as knocking:
    knocking.settimeout(10)
    try:
        knocking.connect(sys.argv[1])
    except PermissionError:
        sys.exit("forbidden")
    try:
        knocking.sendall(b'{"id": 1, "command": {"name": "attach"}}\\n')
        answer = knocking.recv(100)
    except ConnectionError:  # hung up on before it was written, or after
        answer = b""
    sys.exit("answered" if answer else "hung up")
"""


def knock(path: Path, user: int) -> str:
    """What happens to a user that wants to steer an engine."""
    command = [sys.executable, "-I", "-c", KNOCK, str(path), str(user)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return found.stderr.strip()


def test_the_socket_is_ours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="mpg") as runtime:  # a long path would be the shared folder in /tmp instead
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        folder = sockets.socket_folder()
        assert folder.parent == Path(runtime)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        folder.chmod(0o755)
        with pytest.raises(MigrationError, match="no other user may enter"):
            sockets.socket_folder()


@AS_ROOT
async def test_another_user_cannot_steer_a_run(engines: Engines) -> None:
    engine = await engines.launch()
    path = engine.process.socket
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert knock(path, os.getuid()) == "answered"
    assert knock(path, NOBODY) == "forbidden"
    for each in (path.parent.parent, path.parent):
        each.chmod(0o755)
    assert knock(path, NOBODY) == "forbidden"
    path.chmod(0o666)
    assert knock(path, NOBODY) == "hung up"
    assert knock(path, os.getuid()) == "answered"
    path.parent.chmod(0o700)


def test_to_block_all_writes_takes_a_right_of_its_own(
    shop: Source, guarded: tuple[int, MongoClient[dict[str, Any]]]
) -> None:
    port, admin = guarded
    may_block = {"resource": {"cluster": True}, "actions": ["setUserWriteBlockMode"]}
    admin.admin.command("createRole", "blocker", privileges=[may_block], roles=[])
    admin.shop.command(
        "createUser",
        "blocker",
        pwd=PASSWORD,
        roles=[{"role": "blocker", "db": "admin"}, {"role": "read", "db": "shop"}],
    )
    with mongo.connect(shop.uri, app_name="test") as reader:
        assert "lacks the right setUserWriteBlockMode" in write_block.why_not(reader)
        assert not write_block.can_be_set(reader)
    uri = f"mongodb://blocker:{QUOTED}@127.0.0.1:{port}/shop?directConnection=true"
    with mongo.connect(uri, app_name="test") as blocker:
        assert write_block.why_not(blocker) == ""
        assert not write_block.is_blocked(blocker), "which it may not see"
    admin.shop.command("dropUser", "blocker")
    admin.admin.command("dropRole", "blocker")
