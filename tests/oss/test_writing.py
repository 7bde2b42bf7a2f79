"""An object is replaced by a whole one, or not at all."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.oss_server import OssServer

from airflow_provider_outbound.core.files import atomic_write
from airflow_provider_outbound.core.results.columns import COLUMNS
from airflow_provider_outbound.core.results.formats import open_writer
from airflow_provider_outbound.exceptions import OutboundBotConfigError

#: More than two parts of an upload.
MUCH = 20 << 20


@given(chunks=st.lists(st.binary(max_size=50), max_size=6))
@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_what_is_there(oss: OssServer, at: Callable[..., Any], chunks: Any) -> None:
    with atomic_write(at("out/r.csv")) as file:
        for chunk in chunks:
            file.write(chunk)

    assert oss.buckets["campaigns"].keys() == {"out/r.csv"}
    assert at("out/r.csv").read_bytes() == b"".join(chunks)


def test_a_large_object_is_uploaded_in_parts_and_appears_at_once(oss: OssServer, at: Callable[..., Any]) -> None:
    content = os.urandom(MUCH)

    with atomic_write(at("r.bin")) as file:
        for start in range(0, MUCH, 1 << 16):
            file.write(content[start : start + (1 << 16)])
        assert not at("r.bin").exists()

    assert oss.body("campaigns/r.bin") == content
    assert oss.operations.count("UploadPart") == 3
    assert not oss.uploads


def write(path: Any, size: int) -> None:
    with atomic_write(path) as file:
        for _ in range(2):
            file.write(b"x" * (size // 2))


class LostError(Exception):
    """Breaks off a block."""


@pytest.mark.parametrize("size", [1, MUCH])
@pytest.mark.parametrize("way", ["atomic", "binary", "text", "dropped"])
def test_a_block_that_fails_replaces_nothing(oss: OssServer, at: Callable[..., Any], way: str, size: Any) -> None:
    oss.put("campaigns/r", b"old")

    with suppress(LostError):
        if way == "atomic":
            with atomic_write(at("r")) as file:
                file.write(b"x" * size)
                file.close()
                raise LostError
        elif way == "dropped":
            at("r").open("wb").write(b"x" * size)
        else:
            with at("r").open("wb" if way == "binary" else "w") as file:
                file.write(b"x" * size if way == "binary" else "x" * size)
                raise LostError
    gc.collect()

    assert oss.body("campaigns/r") == b"old"
    assert not oss.uploads


@pytest.mark.parametrize("name", ["r.csv", "r.jsonl.gz", "r.parquet"])
def test_an_export_that_fails_half_way_replaces_nothing(oss: OssServer, at: Callable[..., Any], name: str) -> None:
    """Writers of formats may close the file when they are dropped, which must not put it into place."""
    oss.put(f"campaigns/{name}", b"old")
    row = dict.fromkeys(COLUMNS)

    with (
        suppress(LostError),
        atomic_write(at(name)) as file,
        open_writer(file, name, name.split(".")[1], COLUMNS) as write,
    ):
        write(row)
        raise LostError
    gc.collect()

    assert oss.body(f"campaigns/{name}") == b"old"


@pytest.mark.parametrize("operation", ["InitiateMultipartUpload", "UploadPart", "CompleteMultipartUpload"])
def test_a_refused_upload_is_an_error_and_leaves_nothing(
    oss: OssServer, at: Callable[..., Any], operation: str
) -> None:
    oss.put("campaigns/r", b"old")
    oss.denied = {operation}

    with pytest.raises(OutboundBotConfigError, match="cannot be written: OSS refuses access"):
        write(at("r"), MUCH)

    assert oss.body("campaigns/r") == b"old"
    assert not oss.uploads


def test_an_upload_that_somebody_aborted_is_an_error(oss: OssServer, at: Callable[..., Any]) -> None:
    oss.before = lambda operation: oss.uploads.clear() if operation == "CompleteMultipartUpload" else None

    with pytest.raises(OutboundBotConfigError, match="its upload was ended by somebody else"):
        write(at("r"), MUCH)

    assert oss.body("campaigns/r") is None


_WRITE = """
import os, signal
from airflow_provider_outbound.core.files import atomic_write
from airflow.sdk import ObjectStoragePath
with atomic_write(ObjectStoragePath("oss://oss_test@campaigns/r")) as file:
    file.write(b"x" * (20 << 20))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_task_leaves_the_older_object(oss: OssServer) -> None:
    oss.put("campaigns/r", b"old")

    done = subprocess.run([sys.executable, "-c", _WRITE], cwd=Path.cwd(), timeout=300, check=False)

    assert done.returncode == -signal.SIGKILL
    assert oss.body("campaigns/r") == b"old"
    assert len(oss.uploads) == 1


def test_a_text_is_written_as_it_is(at: Callable[..., Any]) -> None:
    with at("r.txt").open("w", encoding="gb18030", newline="") as file:
        file.write("你好\r\n")

    assert at("r.txt").read_bytes() == "你好\r\n".encode("gb18030")


def test_appending_is_refused(at: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="read or written whole"):
        at("r").open("ab")


def test_a_moved_object_is_whole(oss: OssServer, at: Callable[..., Any]) -> None:
    oss.put("campaigns/old", b"x" * MUCH)

    at("old").move(at("new"))

    assert oss.buckets["campaigns"].keys() == {"new"}
    assert oss.body("campaigns/new") == b"x" * MUCH


def test_a_removed_object_is_gone(oss: OssServer, at: Callable[..., Any]) -> None:
    oss.put("campaigns/r", b"old")

    at("r").unlink()

    assert oss.body("campaigns/r") is None
