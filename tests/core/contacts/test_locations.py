"""A folder or pattern is read completely: no file in it is overlooked because of the way that leads to it."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.rows import as_contacts

from airflow_provider_outbound.core.contacts import PathLike, from_path, read_excluded
from airflow_provider_outbound.exceptions import OutboundBotContactsError

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath
    from upath import UPath


def write(path: Path, *numbers: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["phone", *numbers]))


def excluded(path: PathLike) -> set[str]:
    return {number[-1] for number in read_excluded(from_path(path, label="exclude_path"), "exclude_path")}


#: Where a file is below the folder: each step is a real folder, or a link to one elsewhere.
STEPS = st.lists(st.sampled_from(["real", "link"]), max_size=3)
PATTERNS = ["", "*", "*/*", "**", "**/*", "**/*.csv", "*/*.csv", "day=*", "day=*/*.csv", "*.csv"]


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=4), st.sampled_from(PATTERNS))
def test_every_file_that_a_folder_leads_to_is_read_or_the_list_is_refused(
    tmp_path_factory: pytest.TempPathFactory, places: list[list[str]], pattern: str
) -> None:
    base = tmp_path_factory.mktemp("lists")
    root, elsewhere = base / "root", base / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    below: dict[str, int] = {}
    for index, steps in enumerate(places):
        folder = root
        for level, step in enumerate(steps):
            inner = folder / f"day={index}{level}"
            if step == "link":
                target = elsewhere / f"{index}{level}"
                target.mkdir()
                inner.symlink_to(target)
            else:
                inner.mkdir()
            folder = inner
        write(folder / f"part{index}.csv", f"1380000000{index}")
        below[str(index)] = len(steps)

    found, refused = set(), ""
    try:
        found = excluded(root / pattern if pattern else root)
    except OutboundBotContactsError as error:
        refused = str(error)

    if refused:
        assert pattern
        assert "does not read the files in the folder" in refused or "matches none" in refused
        return
    # "*/*.csv" and its like say how deep they go.
    deep = {"*/*": {1}, "*/*.csv": {1}, "day=*/*.csv": {1}, "*.csv": {0}}.get(pattern, set(range(4)))
    assert found == {number for number, depth in below.items() if depth in deep}


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    write(tmp_path / "a" / "list.csv", "13800000001")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")

    assert excluded(tmp_path) == {"1"}


def test_a_pattern_that_matches_only_folders_is_no_empty_list(tmp_path: Path) -> None:
    write(tmp_path / "day=1" / "part.csv", "13800000001")

    with pytest.raises(OutboundBotContactsError, match=r"does not read the files in the folder .*day=1; give a folder"):
        from_path(tmp_path / "day=*")


def test_a_pattern_for_contacts_may_pass_over_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "tonight.csv", "13800000001")
    write(tmp_path / "archive" / "old.csv", "13800000002")

    assert [contact.phone.wire for contact in as_contacts(from_path(tmp_path / "*"))] == ["13800000001"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_linked_folder_that_cannot_be_read_refuses_the_list(tmp_path: Path) -> None:
    write(tmp_path / "list" / "a.csv", "13800000001")
    (tmp_path / "closed").mkdir(mode=0)
    (tmp_path / "list" / "more").symlink_to(tmp_path / "closed")

    with pytest.raises(OutboundBotContactsError, match="Permission denied"):
        excluded(tmp_path / "list")


ENDINGS = [".csv", ".CSV", ".Csv", ".csv.gz", ".CSV.GZ", ".Csv.gz"]
RUNS = count()


@pytest.fixture
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], ObjectStoragePath | Path | UPath]:
    """A folder of its own in some store."""
    from airflow.sdk import ObjectStoragePath
    from upath import UPath

    name = f"lists{next(RUNS)}"
    if request.param == "oss":
        return lambda: request.getfixturevalue("at")(f"lists{next(RUNS)}")
    if request.param == "memory":
        return lambda: UPath(f"memory://{name}/{next(RUNS)}")
    return lambda: (ObjectStoragePath if request.param == "file" else Path)(
        ("file://" if request.param == "file" else "") + str(tmp_path_factory.mktemp(name))
    )


@pytest.mark.parametrize("store", ["path", "file", "memory", "oss"], indirect=True)
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(ENDINGS), min_size=1, max_size=4),
    st.sampled_from(["*.csv", "*.CSV", "part*.csv", "*.[c]sv", "*.cs?", "**/*.csv", "*.csv.gz", "*.c*"]),
)
def test_a_pattern_ignores_the_case_of_the_ending(
    store: Callable[[], ObjectStoragePath | Path | UPath], endings: list[str], pattern: str
) -> None:
    folder = store()
    for index, ending in enumerate(endings):
        text = f"phone\n1380000000{index}\n".encode()
        path = folder / f"part{index}{ending}"
        if isinstance(path, Path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(gzip.compress(text) if ending.lower().endswith(".gz") else text)
    is_zipped = {"*.csv.gz": {True}, "*.c*": {False, True}}.get(pattern, {False})
    expected = {str(index) for index, ending in enumerate(endings) if ending.lower().endswith(".gz") in is_zipped}

    found = set()
    try:
        found = excluded(folder / pattern)
    except OutboundBotContactsError as error:
        assert "matches none" in str(error)  # noqa: PT017

    assert found == expected


@pytest.mark.parametrize("pattern", ["PART*.csv", "*.tsv", "a*.CSV"])
def test_a_pattern_keeps_the_case_of_the_rest(tmp_path: Path, pattern: str) -> None:
    write(tmp_path / "part.CSV", "13800000001")

    with pytest.raises(OutboundBotContactsError, match="matches none"):
        excluded(tmp_path / pattern)


@pytest.mark.parametrize("store", ["path", "memory"], indirect=True)
@pytest.mark.parametrize("name", ["_more.csv", "_MORE.CSV.GZ", "_more.parquet", "_more.xlsx", "day=1/_more.jsonl"])
@pytest.mark.parametrize("pattern", ["", "*", "**/*"])
def test_a_list_that_is_skipped_for_its_name_refuses_a_do_not_call_list(
    store: Callable[[], Any], name: str, pattern: str
) -> None:
    folder = store()
    for path, text in ((folder / "dnc.csv", "phone\n13800000001\n"), (folder / name, ""), (folder / "_SUCCESS", "")):
        if isinstance(path, Path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            file.write(text)

    with pytest.raises(OutboundBotContactsError, match=r"whose name begins with _; rename it, or move it elsewhere$"):
        excluded(folder / pattern if pattern else folder)


def test_other_names_that_no_list_has_are_skipped(tmp_path: Path) -> None:
    write(tmp_path / "dnc.csv", "13800000001")
    for name in ("_SUCCESS", "._dnc.csv", "~$dnc.xlsx", "_temporary/0/dnc.csv", ".git/dnc.csv"):
        write(tmp_path / name, "12")

    assert excluded(tmp_path) == {"1"}
    write(tmp_path / "_people.csv", "13800000002")
    assert len([*from_path(tmp_path, label="contacts_path")]) == 1
