"""The documented licences of direct dependencies are those that the installed packages state."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
#: Extras for whoever develops the package; nobody else installs them.
DEVELOPERS = {"dev", "docs"}
#: SPDX's identifiers of what older metadata says in words.
SPDX = {
    "Apache": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
}
_ROW = re.compile(r"^\| (?P<package>[\w-]+) \| (?P<licence>[A-Z][^|]*) \| (?P<extras>[^|]*)\|$", re.MULTILINE)
#: Of the notice that the Apache License asks for in each file.
_NOTICE = re.compile(r"Apache License, Version 2\.0")


def documented() -> dict[str, tuple[str, set[str]]]:
    """Licence and extras of each package, by the table."""
    text = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    return {
        row["package"]: (row["licence"], set(re.findall(r"\[(.+?)\]", row["extras"]))) for row in _ROW.finditer(text)
    }


def required() -> dict[str, set[str]]:
    """Each direct dependency, and the extras that require it; none if the package itself does."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: dict[str, set[str]] = {_name(line): set() for line in project["dependencies"]}
    extras: Mapping[str, list[str]] = project["optional-dependencies"]
    for extra in extras.keys() - DEVELOPERS:
        for line in extras[extra]:
            found.setdefault(_name(line), set()).add(extra)
    return found


def _name(requirement: str) -> str:
    return re.split(r"[\[<>=; ]", requirement)[0]


def stated(package: str) -> str | None:
    """The licence in a package's metadata, or in its files."""
    found = metadata.distribution(package)
    named: Any = found.metadata  # an email.message.Message
    words = named.get("License-Expression") or named.get("License")
    if words is None:
        notices = (
            _NOTICE.search(Path(str(file.locate())).read_text("utf-8"))
            for file in found.files or ()
            if file.suffix == ".py"
        )
        words = next((notice.group() for notice in notices if notice), None)
    return None if words is None else str(SPDX.get(words, words))


def test_every_direct_dependency_is_listed_with_its_extras() -> None:
    assert {package: extras for package, (_, extras) in documented().items()} == required()


@pytest.mark.parametrize("package", documented())
def test_a_listed_licence_is_the_one_that_the_package_states(package: str) -> None:
    assert documented()[package][0] == stated(package)
