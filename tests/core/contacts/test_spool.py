"""A source that is read once gives every reading the same contacts, and leaves nothing for others to read."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.rows import as_contacts

from airflow_provider_outbound.core.contacts import ContactSource, Spool, from_items
from airflow_provider_outbound.core.contacts import spool as module
from airflow_provider_outbound.exceptions import OutboundBotContactsError

CELLS = st.none() | st.text(max_size=8) | st.integers() | st.floats() | st.binary(max_size=4) | st.dates()
ROWS = st.lists(
    st.fixed_dictionaries(
        {"phone": st.from_regex(r"1380000[0-9]{4}", fullmatch=True) | CELLS, "name": CELLS, "x": CELLS}
    ),
    max_size=30,
)


class Changing:
    """Rows that are others each time they are read, as those of ``ORDER BY random() LIMIT 3`` are."""

    label, name, is_repeatable = "contacts_sql", "", True

    def __init__(self) -> None:
        self.readings = 0

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        self.readings += 1
        return enumerate([{"phone": f"138{self.readings:04}{row:04}", "name": "Zhang"} for row in range(3)], start=1)


def spooled(source: ContactSource) -> ContactSource:
    return ContactSource([Spool(source, "contacts_sql")])


def test_all_readings_get_the_rows_of_the_first() -> None:
    rows = Changing()
    source = spooled(ContactSource([rows]))

    assert not source.is_empty()
    first, second = list(source), list(source)

    assert rows.readings == 1
    assert first == second
    assert [contact.phone.wire for contact in as_contacts(first)] == ["13800010000", "13800010001", "13800010002"]
    assert source.is_repeatable


@settings(deadline=None, max_examples=examples(200))
@given(rows=ROWS, block=st.integers(1, 7))
def test_contacts_and_rejects_are_those_of_the_source(rows: list[dict[str, Any]], block: int) -> None:
    source = from_items(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        kept = spooled(source)
        one, other = iter(kept), iter(kept)
        both = list(zip(one, other, strict=True))

    expected = list(source)
    assert [pair[0] for pair in both] == [pair[1] for pair in both] == expected
    assert [item.row for item, _ in both] == [item.row for item in expected]


def test_nobody_is_called_if_the_source_breaks_off() -> None:
    def rows() -> Iterator[dict[str, str]]:
        yield {"phone": "13800000001"}
        raise OutboundBotContactsError("contacts_sql on connection 'db': gone")

    with pytest.raises(OutboundBotContactsError, match=r"^contacts_sql on connection 'db': gone\. Nobody was called$"):
        next(iter(spooled(from_items(rows()))))


def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    # No test can fill a disk: the system call is replaced, not our code.
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)

    with pytest.raises(OutboundBotContactsError, match=r"No space left on device; free some space, or set TMPDIR"):
        spooled(from_items(["13800000001"])).is_empty()


_CHILD = """
import sys
from airflow_provider_outbound.core.contacts import ContactSource, Spool, from_items

people = [{"phone": f"138{n:08}", "name": "Zhang"} for n in range(3000)]
source = ContactSource([Spool(from_items(people), "contacts_sql")])
assert len(list(source)) == 3000
print("ready", flush=True)
sys.stdin.read()
"""


def test_the_file_is_private_encrypted_and_gone_after_a_kill(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        opened = [
            link for link in Path(f"/proc/{child.pid}/fd").iterdir() if str(link.readlink()).startswith(str(tmp_path))
        ]
        content = opened[0].read_bytes()
        mode = stat.S_IMODE(opened[0].stat().st_mode)
        assert list(tmp_path.iterdir()) == []
        child.send_signal(signal.SIGKILL)

    assert len(opened) == 1
    assert len(content) > 30_000
    assert mode == 0o600
    assert b"1380000" not in content
    assert b"Zhang" not in content
    assert list(tmp_path.iterdir()) == []
