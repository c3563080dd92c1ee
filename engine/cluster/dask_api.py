"""What is used of Dask, an extra: types are checked without it, too, so all of it is `Any` here."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_distributed = import_module("distributed")

Client: Any = _distributed.Client
LocalCluster: Any = _distributed.LocalCluster
Security: Any = import_module("distributed.security").Security
get_worker: Any = _distributed.get_worker
