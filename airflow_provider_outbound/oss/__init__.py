"""
Files in Alibaba Cloud OSS, by paths such as ``oss://conn_id@bucket/folder/people.csv``.

Airflow asks this module for a filesystem, because ``get_provider_info()`` names it. A path without a connection uses
``oss_default``. The SDK is imported when a path is first used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fsspec import register_implementation
from upath import UPath

from airflow_provider_outbound.oss.filesystem import OssFileSystem

__all__ = ["OssFileSystem", "OssPath", "get_fs", "schemes"]

#: The schemes of URLs that this filesystem serves; Airflow reads this name.
schemes = ["oss"]

# Otherwise universal-pathlib takes paths apart as ossfs does, whether that is installed or not: with a slash before the
# bucket, so that what a folder lists would not be found.
register_implementation("oss", OssFileSystem, clobber=True)


class OssPath(UPath):
    """
    A path in OSS. ``ObjectStoragePath`` makes it.

    universal-pathlib finds it by its entry point, and imports this module before it takes a path apart.
    """

    __slots__ = ()


def get_fs(conn_id: str | None, storage_options: Mapping[str, Any] | None = None) -> OssFileSystem:
    """
    Return the filesystem of a connection; Airflow calls this name.

    The connection is looked up when a path is first used, because Airflow ignores errors that are raised here.

    :param conn_id: The connection; ``None`` for ``oss_default``.
    """
    return OssFileSystem(conn_id=conn_id, **(storage_options or {}))
