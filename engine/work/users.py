"""Synthetic users as raw BSON: the same for the same (seed, index), whichever worker makes them, in whatever portions.

A user is put together from pools of Faker's values by a stream of pseudo-random bytes. Pools are encoded once; what is
left to do for each user is choosing and joining.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b, shake_128

from bson import encode

ID_BYTES = 12
MAX_INDEX = 2**32
"""Exclusive: an index takes the last four bytes of the `_id`."""

_BLOCK = 256
"""Users whose choices come from one digest."""
_CHOICES = struct.Struct("<HHHHBBBxII")
"""First name, last name, job, address, then mail domain, tags, active, padding, balance, registration."""
_BYTE_VALUES = 256
"""Pools of this size are chosen from by one byte as it is."""

_POOL_SEED = 20240101
"""Fixed, so that every process has the same pools whatever the seed of the users."""
_N_COMPANIES = 300
_N_JOBS = 1_024
_N_STREETS = 400
_N_CITIES = 400
_N_ADDRESSES = 2_048
_TAGS = (
    "admin", "beta", "customer", "gold", "lead", "mobile", "new", "partner", "press", "silver", "trial", "vip",
)  # fmt: skip
_MAX_TAGS = 3
_DOMAINS = (b"@example.com", b"@example.net", b"@example.org")
"""Reserved names: no mail is ever delivered."""
_MIN_AGE, _MAX_AGE = 18, 90
_MAX_HOUSE_NUMBER = 9_999
_ACTIVE_SHARE = 205
"""Of 256."""
_MIN_BALANCE_CENTS, _BALANCE_SPAN = -50_000, 5_050_000
_FIRST_REGISTRATION_MS = 1_420_070_400_000
"""2015-01-01T00:00Z."""
_REGISTRATION_SPAN_S = 10 * 365 * 86_400

_INT32 = struct.Struct("<i")
_LENGTHS = tuple(_INT32.pack(length) for length in range(1_024))
"""Document and string lengths, packed."""
_TAIL = struct.Struct("<8s?9sd14sq")
"""active, balance, registeredAt."""
_BALANCE = b"\x01balance\0"
_REGISTERED_AT = b"\x09registeredAt\0"
_ACTIVE = b"\x08active\0"


@dataclass(frozen=True, slots=True)
class _Pools:
    first_names: tuple[tuple[bytes, bytes], ...]
    """Names with their initials for the mail address."""
    last_names: tuple[tuple[bytes, bytes], ...]
    """Names, and in lower case."""
    domains: tuple[bytes, ...]
    jobs: tuple[bytes, ...]
    """Encoded elements age and company."""
    addresses: tuple[bytes, ...]
    """Encoded elements."""
    tag_sets: tuple[bytes, ...]
    """Encoded elements, with the end of the user."""


@cache
def _pools() -> _Pools:
    # Importing Faker takes 50 ms, which only seeding should pay.
    from faker import Faker
    from faker.providers.person.en_US import Provider as People

    faker = Faker("en_US", providers=[f"faker.providers.{name}" for name in ("person", "address", "company")])
    faker.seed_instance(_POOL_SEED)
    companies = [faker.company() for _ in range(_N_COMPANIES)]
    streets = [faker.street_name() for _ in range(_N_STREETS)]
    cities = [faker.city() for _ in range(_N_CITIES)]
    choice = faker.random
    addresses = [
        {
            "street": f"{choice.randint(1, _MAX_HOUSE_NUMBER)} {choice.choice(streets)}",
            "city": choice.choice(cities),
            "zip": faker.zipcode(),
            "country": faker.country(),
        }
        for _ in range(_N_ADDRESSES)
    ]
    return _Pools(
        first_names=tuple((name.encode(), name[0].lower().encode()) for name in People.first_names),
        last_names=tuple((name.encode(), name.lower().encode()) for name in People.last_names),
        domains=tuple(_DOMAINS[number % len(_DOMAINS)] for number in range(_BYTE_VALUES)),
        jobs=tuple(
            _elements(age=choice.randint(_MIN_AGE, _MAX_AGE), company=choice.choice(companies)) for _ in range(_N_JOBS)
        ),
        addresses=tuple(_elements(address=address) for address in addresses),
        tag_sets=tuple(
            _elements(tags=choice.sample(_TAGS, number % (_MAX_TAGS + 1))) + b"\0" for number in range(_BYTE_VALUES)
        ),
    )


def _elements(**fields: object) -> bytes:
    return encode(fields)[4:-1]


def user_id(seed: int, index: int) -> bytes:
    """The ObjectId of a user, 12 bytes: eight made from the seed, then the index, so that they ascend with it.

    Raises:
        ValueError: the index is not within 0 .. 2**32 - 1.
    """
    if not 0 <= index < MAX_INDEX:
        raise ValueError(f"index {index} is not below {MAX_INDEX}")
    return _id_prefix(seed) + index.to_bytes(4, "big")


def index_of(object_id: bytes, seed: int) -> int | None:
    """The index that an ObjectId was made from; None when it was not made with this seed."""
    if len(object_id) != ID_BYTES or not object_id.startswith(_id_prefix(seed)):
        return None
    return int.from_bytes(object_id[-4:], "big")


@cache
def _id_prefix(seed: int) -> bytes:
    return blake2b(str(seed).encode(), digest_size=8, person=b"mongopg-user").digest()


class UserPages:
    """Users of one seed."""

    def __init__(self, seed: int) -> None:
        """Users of `seed`; making the pools of values takes about a tenth of a second, once a process."""
        self.seed = seed
        self._pools = _pools()

    def documents(self, low: int, high: int) -> list[bytes]:
        """Users of indexes low <= i < high, in this order, as BSON.

        Raises:
            ValueError: the indexes are not within 0 .. 2**32.
        """
        if not 0 <= low <= high <= MAX_INDEX:
            raise ValueError(f"indexes {low} to {high} are not within 0 to {MAX_INDEX}")
        pools = self._pools
        firsts, lasts, jobs, addresses = pools.first_names, pools.last_names, pools.jobs, pools.addresses
        n_firsts, n_lasts, n_jobs, n_addresses = len(firsts), len(lasts), len(jobs), len(addresses)
        domains, tag_sets = pools.domains, pools.tag_sets
        lengths, pack_tail, join = _LENGTHS, _TAIL.pack, b"".join
        id_start = b"\x07_id\0" + _id_prefix(self.seed)
        made = []
        for index, choice in enumerate(self._choices(low, high), low):
            first_at, last_at, job, address, domain, tags, active, cents, since = choice
            first, initial = firsts[first_at % n_firsts]
            last, last_lower = lasts[last_at % n_lasts]
            username = b"%b%b%d" % (initial, last_lower, index)
            mail = domains[domain]
            body = join((
                id_start, index.to_bytes(4, "big"),
                b"\x02username\0", lengths[len(username) + 1], username,
                b"\0\x02email\0", lengths[len(username) + len(mail) + 1], username, mail,
                b"\0\x02name\0", lengths[len(first) + len(last) + 2], first, b" ", last, b"\0",
                jobs[job % n_jobs],
                pack_tail(
                    _ACTIVE, active < _ACTIVE_SHARE,
                    _BALANCE, (cents % _BALANCE_SPAN + _MIN_BALANCE_CENTS) / 100,
                    _REGISTERED_AT, _FIRST_REGISTRATION_MS + since % _REGISTRATION_SPAN_S * 1_000,
                ),
                addresses[address % n_addresses], tag_sets[tags],
            ))  # fmt: skip
            made.append(lengths[len(body) + 4] + body)
        return made

    def _choices(self, low: int, high: int) -> Iterator[tuple[int, ...]]:
        for block in range(low // _BLOCK, -(-high // _BLOCK)):
            digest = shake_128(b"%d/%d" % (self.seed, block)).digest(_BLOCK * _CHOICES.size)
            begin, end = max(low - block * _BLOCK, 0), min(high - block * _BLOCK, _BLOCK)
            yield from _CHOICES.iter_unpack(digest[begin * _CHOICES.size : end * _CHOICES.size])
