"""OSS as a filesystem of fsspec."""

from __future__ import annotations

import errno
import io
import shutil
from collections.abc import Iterator
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any

from fsspec.spec import AbstractFileSystem

from airflow_provider_outbound.core.models.phone import redact
from airflow_provider_outbound.oss.connection import DEFAULT_CONN_ID, read_settings
from airflow_provider_outbound.oss.files import BLOCK, OssReader, OssWriter

if TYPE_CHECKING:
    from airflow_provider_outbound.oss.client import OssClient, Stored


class OssFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """
    Objects as files, and common prefixes of their keys as folders.

    Nothing is cached, and no error is taken for an absence: where fsspec's own methods answer that there is no file,
    these raise what OSS refused. Folders need not be made.

    :param conn_id: The connection; ``None`` for ``oss_default``. It is looked up on first use.
    """

    protocol = "oss"
    root_marker = ""
    #: ``open(path, "wb", explicit_commit=True)`` gives a file that only its ``commit()`` puts into place, so that
    #: nobody need write another file and move it.
    can_commit = True

    def __init__(self, conn_id: str | None = None, **storage_options: Any) -> None:
        super().__init__(conn_id=conn_id, **storage_options)
        self.conn_id = conn_id or DEFAULT_CONN_ID

    @cached_property
    def client(self) -> OssClient:
        """
        The client.

        :raises OutboundBotConfigError: the connection cannot be used, or the SDK is not installed.
        """
        from airflow_provider_outbound.oss.client import OssClient

        return OssClient(read_settings(self.conn_id))

    @property
    def fsid(self) -> str:
        """Identifies the store to Airflow."""
        return f"oss-{self.conn_id}"

    def split(self, path: str) -> tuple[str, str]:
        """
        Return the bucket and the key of a path; the key is empty for the bucket itself.

        :raises OSError: the path names no bucket.
        """
        bucket, _, key = self._strip_protocol(path).partition("/")
        if not bucket:
            raise OSError(errno.EINVAL, "the path names no bucket; write oss://conn_id@bucket/file")
        return bucket, key

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """
        Return name, size and type of a file or folder.

        :raises FileNotFoundError: there is neither.
        :raises OSError: OSS refuses, or cannot be reached.
        """
        bucket, key = self.split(path)
        if key:
            try:
                return _file(bucket, self.client.head(bucket, key))
            except FileNotFoundError:
                # A folder is where objects are under it.
                pass
        name = f"{bucket}/{key}".rstrip("/")
        under = self.client.iter_objects(bucket, _prefix(key), limit=1)
        if next(under, None) is None and key:
            raise _absent(name)
        return _folder(name)

    def exists(self, path: str, **_: Any) -> bool:
        """
        Return whether there is a file or folder.

        :raises OSError: OSS refuses, or cannot be reached.
        """
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def isfile(self, path: str) -> bool:
        """Return whether there is a file; raises like :meth:`exists`."""
        return self._type(path) == "file"

    def isdir(self, path: str) -> bool:
        """Return whether there is a folder; raises like :meth:`exists`."""
        return self._type(path) == "directory"

    def _type(self, path: str) -> str:
        try:
            return str(self.info(path)["type"])
        except FileNotFoundError:
            return ""

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """
        List a folder.

        :raises FileNotFoundError: there is no such folder or file.
        :raises OSError: OSS refuses, cannot be reached, or has an object that cannot be a file.
        """
        bucket, key = self.split(path)
        found = [
            _folder(f"{bucket}/{entry.rstrip('/')}") if isinstance(entry, str) else _file(bucket, entry)
            for entry in self._entries(bucket, key, delimiter="/")
        ]
        if not found:
            info = self.info(path)
            found = [info] if info["type"] == "file" else []
        return found if detail else [entry["name"] for entry in found]

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **_: Any
    ) -> Any:
        """
        List all files under a folder, by one flat listing. Raises like :meth:`ls`, but a folder may be missing.

        :param maxdepth: Levels to descend; ``None`` for all.
        :param withdirs: List the folders too.
        """
        listed = self._level(path) if maxdepth == 1 else self._flat(path, maxdepth)
        found = {name: entry for name, entry in sorted(listed.items()) if withdirs or entry["type"] == "file"}
        return found if detail else list(found)

    def _level(self, path: str) -> dict[str, Any]:
        """List one level by a listing of its own, because far more objects may be below it."""
        try:
            return {entry["name"]: entry for entry in self.ls(path)}
        except FileNotFoundError:
            return {}

    def _flat(self, path: str, maxdepth: int | None) -> dict[str, Any]:
        bucket, key = self.split(path)
        top = f"{bucket}/{key}".rstrip("/")
        found: dict[str, Any] = {}
        for entry in self._entries(bucket, key):
            assert not isinstance(entry, str)  # noqa: S101 - without a delimiter there are no prefixes
            name = f"{bucket}/{entry.key}"
            steps = name[len(top) + 1 :].split("/")
            if maxdepth is None or len(steps) <= maxdepth:
                found[name] = _file(bucket, entry)
            for depth in range(1, min(len(steps), (maxdepth or len(steps)) + 1)):
                folder = f"{top}/{'/'.join(steps[:depth])}"
                found.setdefault(folder, _folder(folder))
        if not found and key and self.isfile(path):
            found[top] = self.info(path)
        return found

    def _entries(self, bucket: str, key: str, *, delimiter: str | None = None) -> Iterator[Stored | str]:
        """Yield what is under a folder, without the empty objects that consoles make for folders."""
        for entry in self.client.iter_objects(bucket, _prefix(key), delimiter=delimiter):
            name = entry if isinstance(entry, str) else entry.key
            is_folder = name.endswith("/")
            steps = name.removesuffix("/").split("/")
            if not {"", ".", ".."}.isdisjoint(steps) or (is_folder and not isinstance(entry, str) and entry.size):
                # As a path it would be another object, or none: a list of people might be left out.
                raise OSError(
                    errno.EINVAL, f"object {redact(f'{bucket}/{name}')!r} cannot be a file; rename or move it"
                )
            if isinstance(entry, str) or not is_folder:
                yield entry

    def walk(self, path: str, maxdepth: int | None = None, topdown: bool = True, **options: Any) -> Iterator[Any]:
        """Yield folders with their contents; raises like :meth:`ls`, unless ``on_error`` says otherwise."""
        yield from super().walk(path, maxdepth, topdown, **{"on_error": "raise", **options})

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        """
        Open a file.

        :param mode: ``rb`` or ``wb``, or ``r`` or ``w`` for text.
        :param options: ``block_size`` (bytes that one request reads), ``explicit_commit`` (a written file is put into
            place by its ``commit()`` alone), and those of fsspec.
        """
        file = super().open(path, mode, **options)
        if isinstance(file, io.TextIOWrapper) and isinstance(file.buffer, OssWriter):
            text: dict[str, Any] = {"encoding": file.encoding, "errors": file.errors, "newline": options.get("newline")}
            return _TextWriter(file.detach(), **text)
        return file

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: Any = None,
        explicit_commit: bool = False,
        **_: Any,
    ) -> Any:
        bucket, key = self.split(path)
        if mode == "wb" and key:
            return OssWriter(self.client, bucket, key, commits_on_close=autocommit and not explicit_commit)
        if mode != "rb" and key:
            raise ValueError(f"mode {mode!r}: a file in OSS is read or written whole; open it with 'rb' or 'wb'")
        found = self._head(bucket, key)
        if found.encoding not in ("", "identity"):
            raise OSError(
                errno.EINVAL,
                f"the object has the header Content-Encoding: {found.encoding}, with which parts of it cannot be read;"
                " upload it without that header",
            )
        return OssReader(self, self.client, bucket, found, block_size=block_size, cache_options=cache_options)

    def _head(self, bucket: str, key: str) -> Stored:
        try:
            if key:
                return self.client.head(bucket, key)
        except FileNotFoundError:
            pass
        # Raises if there is nothing, or OSS refuses to say so.
        self.info(f"{bucket}/{key}")
        raise IsADirectoryError(errno.EISDIR, "it is a folder")

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        """Copy a file of any size through this machine: OSS itself copies up to 1 GB at once."""
        with self.open(path1) as source, self.open(path2, "wb") as target:
            shutil.copyfileobj(source, target, BLOCK)

    def _rm(self, path: str) -> None:
        self.client.delete(*self.split(path))


class _TextWriter(io.TextIOWrapper):
    """Text of an :class:`OssWriter`, which a ``with`` block that ends with an error does not commit."""

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.detach().discard()  # type: ignore[attr-defined]
        else:
            self.close()


def _prefix(key: str) -> str:
    return f"{key}/" if key else ""


def _absent(name: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "there is no such file or folder", redact(name))


def _folder(name: str) -> dict[str, Any]:
    return {"name": name, "size": 0, "type": "directory"}


def _file(bucket: str, found: Stored) -> dict[str, Any]:
    return {
        "name": f"{bucket}/{found.key}",
        "size": found.size,
        "type": "file",
        "ETag": found.etag,
        "LastModified": found.modified,
    }
