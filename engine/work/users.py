"""Synthetic users as raw BSON: the same for the same (seed, index), whoever makes them and in whatever portions.

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
_CHOICES = struct.Struct("<HHHHHHBBBBII")
"""First name, last name, street, house number, place, company, then mail domain, tags, age, active, balance, registered."""
_BYTE_VALUES = 256
"""Pools of this size are chosen from by one byte as it is."""

_POOL_SEED = 20240101
"""Fixed, so that every process has the same pools whatever the seed of the users."""
_N_STREETS = 400
_N_PLACES = 400
_N_COMPANIES = 300
_TAGS = (
    "admin", "beta", "customer", "gold", "lead", "mobile", "new", "partner", "press", "silver", "trial", "vip",
)  # fmt: skip
_MAX_TAGS = 3
_DOMAINS = (b"@example.com", b"@example.net", b"@example.org")
"""Reserved names: no mail can ever reach anybody."""
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
    streets: tuple[bytes, ...]
    companies: tuple[bytes, ...]
    """Encoded elements."""
    places: tuple[bytes, ...]
    """Encoded elements city, zip and country, with the end of the address."""
    tag_sets: tuple[bytes, ...]
    """Encoded elements, with the end of the user."""
    ages: tuple[bytes, ...]
    """Encoded elements."""


@cache
def _pools() -> _Pools:
    # Importing Faker takes 50 ms, which only seeding should pay.
    from faker import Faker
    from faker.providers.person.en_US import Provider as People

    faker = Faker("en_US", providers=[f"faker.providers.{name}" for name in ("person", "address", "company")])
    faker.seed_instance(_POOL_SEED)
    tag_sets = [
        [_TAGS[(number * 7 + step * (1 + number % 5)) % len(_TAGS)] for step in range(number % (_MAX_TAGS + 1))]
        for number in range(_BYTE_VALUES)
    ]
    n_ages = _MAX_AGE - _MIN_AGE + 1
    return _Pools(
        first_names=tuple((name.encode(), name[0].lower().encode()) for name in People.first_names),
        last_names=tuple((name.encode(), name.lower().encode()) for name in People.last_names),
        domains=tuple(_DOMAINS[number % len(_DOMAINS)] for number in range(_BYTE_VALUES)),
        streets=tuple(faker.street_name().encode() for _ in range(_N_STREETS)),
        companies=tuple(_elements(company=faker.company()) for _ in range(_N_COMPANIES)),
        places=tuple(
            _elements(city=faker.city(), zip=faker.zipcode(), country=faker.country()) + b"\0" for _ in range(_N_PLACES)
        ),
        tag_sets=tuple(_elements(tags=tags) + b"\0" for tags in tag_sets),
        ages=tuple(_elements(age=_MIN_AGE + number % n_ages) for number in range(_BYTE_VALUES)),
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
        firsts, lasts, streets, places = pools.first_names, pools.last_names, pools.streets, pools.places
        companies, domains, tag_sets, ages = pools.companies, pools.domains, pools.tag_sets, pools.ages
        n_firsts, n_lasts, n_streets = len(firsts), len(lasts), len(streets)
        n_places, n_companies = len(places), len(companies)
        lengths, pack_tail, join = _LENGTHS, _TAIL.pack, b"".join
        id_start = b"\x07_id\0" + _id_prefix(self.seed)
        made = []
        for index, choice in enumerate(self._choices(low, high), low):
            first_at, last_at, street_at, house, place_at, company, domain, tags, age, active, cents, since = choice
            first, initial = firsts[first_at % n_firsts]
            last, last_lower = lasts[last_at % n_lasts]
            username = b"%b%b%d" % (initial, last_lower, index)
            mail = domains[domain]
            street = b"%d %b" % (house % _MAX_HOUSE_NUMBER + 1, streets[street_at % n_streets])
            place = places[place_at % n_places]
            body = join((
                id_start, index.to_bytes(4, "big"),
                b"\x02username\0", lengths[len(username) + 1], username,
                b"\0\x02email\0", lengths[len(username) + len(mail) + 1], username, mail,
                b"\0\x02name\0", lengths[len(first) + len(last) + 2], first, b" ", last, b"\0",
                ages[age], companies[company % n_companies],
                pack_tail(
                    _ACTIVE, active < _ACTIVE_SHARE,
                    _BALANCE, (cents % _BALANCE_SPAN + _MIN_BALANCE_CENTS) / 100,
                    _REGISTERED_AT, _FIRST_REGISTRATION_MS + since % _REGISTRATION_SPAN_S * 1_000,
                ),
                b"\x03address\0", lengths[len(street) + len(place) + 17],
                b"\x02street\0", lengths[len(street) + 1], street, b"\0", place,
                tag_sets[tags],
            ))  # fmt: skip
            made.append(lengths[len(body) + 4] + body)
        return made

    def _choices(self, low: int, high: int) -> Iterator[tuple[int, ...]]:
        for block in range(low // _BLOCK, -(-high // _BLOCK)):
            digest = shake_128(b"%d/%d" % (self.seed, block)).digest(_BLOCK * _CHOICES.size)
            begin, end = max(low - block * _BLOCK, 0), min(high - block * _BLOCK, _BLOCK)
            yield from _CHOICES.iter_unpack(digest[begin * _CHOICES.size : end * _CHOICES.size])
