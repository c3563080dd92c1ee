"""Handles of collections, whatever they are called.

The driver refuses names that a server has all the same, such as `a..b` and `a.`: it looks at them when a handle is made, and
nowhere else. So a handle is made under another name, and given its own afterwards.
"""

from __future__ import annotations

from typing import Any

from pymongo.collection import Collection
from pymongo.errors import InvalidName

from engine.mongo.connect import Client, Document

NEVER_IN_DATABASES = frozenset(' ."$/\\\0')
"""Characters that no server takes in the name of a database:
https://www.mongodb.com/docs/manual/reference/limits/#naming-restrictions"""


class _OddlyNamed(Collection[Document]):
    """A collection of a name that the driver would refuse."""

    def __init__(self, database: Any, name: str, *options: Any) -> None:
        super().__init__(database, "_", False, *options)
        self._name = name
        self._full_name = f"{database.name}.{name}"

    def with_options(
        self,
        codec_options: Any = None,
        read_preference: Any = None,
        write_concern: Any = None,
        read_concern: Any = None,
    ) -> Collection[Any]:
        """The same collection, read in another way."""
        return _OddlyNamed(
            self.database,
            self._name,
            codec_options or self.codec_options,
            read_preference or self.read_preference,
            write_concern or self.write_concern,
            read_concern or self.read_concern,
        )


def collection_of(client: Client, database: str, name: str) -> Collection[Document]:
    """The handle of a collection."""
    try:
        return client[database][name]
    except InvalidName:
        return _OddlyNamed(client[database], name)
