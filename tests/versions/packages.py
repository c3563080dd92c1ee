"""Server programs out of packages, below a folder of their own: nothing of them gets into the project's environment."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

TIMEOUT_S = 600.0
"""For one package to be downloaded."""
CURL_NAMES = (
    "easy_cleanup", "easy_duphandle", "easy_getinfo", "easy_init", "easy_perform", "easy_setopt", "easy_strerror",
    "global_cleanup", "global_init", "multi_add_handle", "multi_assign", "multi_cleanup", "multi_info_read",
    "multi_init", "multi_perform", "multi_remove_handle", "multi_setopt", "multi_socket_action", "multi_wait",
    "share_cleanup", "share_init", "share_setopt", "slist_append", "slist_free_all",
)  # fmt: skip
CURL_STUB = """
static struct { int age; const char *version; unsigned number; const char *host; int features; } info =
    { 0, "7.52.0", 0x073400, "", 4 | 128 | 256 };
void *curl_version_info(int age) { return &info; }
"""
"""What mongod asks of libcurl when it starts: it has TLS and resolves names on the side."""


class UnavailableError(Exception):
    """A server cannot be had here; the message says why."""


def wheel(folder: Path, requirement: str, python: str = "", platform: str = "") -> Path:
    """The files of a wheel, unpacked below `folder`.

    Args:
        folder: made when the package is not there yet.
        requirement: one version of a package.
        python: such as `3.9`, where its wheels are for other Pythons than this one.
        platform: tag of the wheel, where it is not this machine's newest.

    Raises:
        UnavailableError: there is none for this machine.
    """
    if folder.is_dir():
        return folder
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(downloads := folder.with_name(f"{folder.name}.download"))]
    if python:
        command += ["--python-version", python, "--implementation", "cp", "--abi", f"cp{python.replace('.', '')}"]
    command += ["--platform", platform] if platform else []
    ended = subprocess.run([*command, requirement], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if ended.returncode:
        lines = [line for line in ended.stderr.splitlines() if line.startswith("ERROR")]
        raise UnavailableError(f"pip has no wheel of {requirement} for this machine ({(lines or ['?'])[-1]})")
    (file,) = downloads.glob("*.whl")
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    with zipfile.ZipFile(file) as archive:
        archive.extractall(new)
    for data in new.glob("*.data/purelib/*"):
        data.rename(new / data.name)
    for program in new.glob("**/bin/*"):
        program.chmod(0o755)
    new.rename(folder)
    shutil.rmtree(downloads)
    return folder


def within(folder: Path, pattern: str) -> Path:
    """The one file of an unpacked wheel that is wanted.

    Raises:
        UnavailableError: the wheel has none.
    """
    found = sorted(path for path in folder.glob(pattern) if path.is_file())
    if not found:
        raise UnavailableError(f"{folder.name} has no {pattern}")
    return found[0]


def openssl_1_1(folder: Path) -> Path:
    """A folder with libssl.so.1.1 and libcrypto.so.1.1, which systems of today have no more; a wheel brings them along."""
    libraries = wheel(folder / "psycopg2", "psycopg2-binary==2.9.3", "3.10", "manylinux2014_x86_64")
    links = folder / "openssl"
    links.mkdir(exist_ok=True)
    for name in ("ssl", "crypto"):
        link = links / f"lib{name}.so.1.1"
        if not link.is_symlink():
            link.symlink_to(within(libraries, f"*.libs/lib{name}-*.so.1.1"))
    return links


def old_curl(folder: Path) -> Path:
    """A folder with a libcurl.so.4 that has the names of Debian's old one and does nothing: mongod sends no reports.

    Raises:
        UnavailableError: no C compiler.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise UnavailableError("it wants an old libcurl, and there is no C compiler to make one that does nothing")
    made = folder / "curl"
    made.mkdir(exist_ok=True)
    (made / "stub.c").write_text(
        CURL_STUB + "".join(f"void *curl_{name}(void) {{ return {_made(name)}; }}\n" for name in CURL_NAMES)
    )
    (made / "versions").write_text("CURL_OPENSSL_3 { global: curl_*; local: *; };\n")
    command = [compiler, "-shared", "-fPIC", "-o", "libcurl.so.4", "stub.c", "-Wl,-soname,libcurl.so.4"]
    subprocess.run([*command, "-Wl,--version-script=versions"], cwd=made, check=True, capture_output=True)
    return made


def _made(name: str) -> str:
    """What a function of the stub returns: something, where it makes something; else 0, which is success."""
    return "&info" if name.endswith(("y_init", "e_init", "i_init", "duphandle", "slist_append")) else "0"


def with_libraries(program: Path, script: Path, *libraries: Path) -> Path:
    """A script that starts a program with libraries that the system does not have."""
    path = os.pathsep.join(str(each.resolve()) for each in libraries)
    script.write_text(
        f'#!/bin/sh\nLD_LIBRARY_PATH={shlex.quote(path)} exec {shlex.quote(str(program.resolve()))} "$@"\n'
    )
    script.chmod(0o755)
    return script


def version_of(program: Path) -> str:
    """What a server's program says of itself, such as `16.2`.

    Raises:
        UnavailableError: it does not start here.
    """
    ended = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=False)
    words = ended.stdout.split("\n")[0].split()
    if ended.returncode or not words:
        raise UnavailableError(f"its program does not start here: {ended.stderr.strip().splitlines()[-1]}")
    numbers = [word.removeprefix("v") for word in words if word.removeprefix("v")[:1].isdigit()]
    return numbers[0]
