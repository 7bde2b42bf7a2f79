"""A file that is written anew appears when it is whole, and keeps who may read it."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.examples import examples

from airflow_provider_outbound.core.files import atomic_write
from airflow_provider_outbound.exceptions import OutboundBotConfigError


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def write(path: Path, content: bytes = b"new", *, private: bool = False) -> None:
    with atomic_write(path, private=private) as file:
        file.write(content)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_is_as_the_umask_has_it_and_a_private_one_its_owners_alone(tmp_path: Path) -> None:
    write(tmp_path / "plain")
    write(tmp_path / "private", private=True)

    assert (mode(tmp_path / "plain"), mode(tmp_path / "private")) == (0o644, 0o600)


def test_a_full_disk_is_told_from_a_path_that_may_not_be_written(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OutboundBotConfigError, match="No space left on device; free some space"):  # noqa: SIM117
        with atomic_write(tmp_path / "file"):
            raise full


@given(before=st.integers(min_value=0, max_value=0o777), private=st.booleans())
@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_mode_stays_and_nobody_gets_to_read_more(tmp_path: Path, before: int, private: bool) -> None:
    path = tmp_path / "file"
    path.unlink(missing_ok=True)
    path.touch()
    path.chmod(before)

    write(path, private=private)

    after = mode(path)
    assert after == before or (private and before & 0o007 and after == 0o600)
    assert not (private and after & 0o007)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_the_owner_and_the_group_stay(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    os.chown(path, 1234, 2345)

    write(path)

    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_file_whose_owner_cannot_be_kept_is_not_replaced() -> None:
    program = (
        "import os, sys; from pathlib import Path; from airflow_provider_outbound.core.files import atomic_write\n"
        "os.setgroups([]); os.setgid(2345); os.setuid(1234)\n"
        "with atomic_write(Path(sys.argv[1])) as file: file.write(b'new')"
    )
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        path = Path(folder, "file")
        path.write_bytes(b"old")
        command = [sys.executable, "-c", program, str(path)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)

        assert "cannot be written: it belongs to user 0 and group 0" in ended.stderr
        assert path.read_bytes() == b"old"
        assert list(Path(folder).iterdir()) == [path]


def test_a_link_stays_a_link_and_its_target_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "target"
    target.write_bytes(b"old")
    target.chmod(0o640)
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "dangling").symlink_to("elsewhere/made")

    write(tmp_path / "link")
    write(tmp_path / "dangling")
    with pytest.raises(TypeError), atomic_write(tmp_path / "link") as file:
        cast("IO[str]", file).write("no bytes")

    assert (tmp_path / "link").readlink() == target
    assert (target.read_bytes(), mode(target)) == (b"new", 0o640)
    assert (tmp_path / "elsewhere" / "made").read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["dangling", "elsewhere", "link", "made", "target"]


def test_what_is_not_a_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()

    for path in (tmp_path / "pipe", tmp_path / "folder", Path("/dev/null")):
        with pytest.raises(OutboundBotConfigError, match="cannot be written: it is not a file"):
            write(path)

    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
