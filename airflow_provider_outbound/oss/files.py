"""Open files in OSS: read by ranges, written in parts that become visible all at once."""

from __future__ import annotations

import io
import logging
from types import TracebackType
from typing import TYPE_CHECKING, Any

from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from airflow_provider_outbound.core.models.phone import redact

if TYPE_CHECKING:
    from airflow_provider_outbound.oss.client import OssClient, Stored

log = logging.getLogger(__name__)

#: Bytes that one request reads, and of one part of an upload. Files of a task hold about twice as many in memory.
BLOCK = 4 << 20
PART = 8 << 20
#: How often one range is asked for if its answer breaks off.
_TRIES = 3


class OssReader(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    """
    An object that is read block by block. If it is replaced meanwhile, reading it fails.

    :param found: The object, as it was when it was opened.
    """

    def __init__(
        self,
        fs: AbstractFileSystem,
        client: OssClient,
        bucket: str,
        found: Stored,
        *,
        block_size: int | None,
        cache_options: Any,
    ) -> None:
        path = f"{bucket}/{found.key}"
        super().__init__(fs, path, "rb", block_size or BLOCK, size=found.size, cache_options=cache_options)
        self._client = client
        self._bucket = bucket
        self._found = found

    def _fetch_range(self, start: int, end: int) -> bytes:
        for _ in range(_TRIES - 1):
            try:
                return self._get(start, end)
            except ConnectionError as error:
                log.info("OSS: bytes %d to %d are read again: %s", start, end, error)
        return self._get(start, end)

    def _get(self, start: int, end: int) -> bytes:
        return self._client.get(self._bucket, self._found.key, start, end, self._found.etag)


class OssWriter(io.RawIOBase):
    """
    An object that is written in parts.

    It appears, or replaces an older one, when it is committed, and never otherwise: closing commits it, unless the
    ``with`` block of the file ended with an error. What is not committed is discarded.

    :param commits_on_close: ``False`` if only :meth:`commit` commits.
    """

    def __init__(self, client: OssClient, bucket: str, key: str, *, commits_on_close: bool) -> None:
        super().__init__()
        self._client = client
        self._bucket = bucket
        self._key = key
        self._commits_on_close = commits_on_close
        self._buffer = bytearray()
        self._size = 0
        self._upload_id: str | None = None
        self._etags: list[str] = []
        self._is_over = False

    def writable(self) -> bool:
        """Return ``True``."""
        return True

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self._size

    def write(self, data: Any) -> int:
        """
        Add bytes.

        :raises OSError: OSS did not accept a part.
        :raises ValueError: the file is closed.
        """
        if self.closed or self._is_over:
            raise ValueError("write to a closed file")
        count = memoryview(data).nbytes
        self._buffer += data
        self._size += count
        if len(self._buffer) >= PART:
            self._send_part()
        return count

    def _send_part(self) -> None:
        if self._upload_id is None:
            self._upload_id = self._client.start_upload(self._bucket, self._key)
        number = len(self._etags) + 1
        self._etags.append(self._client.put_part(self._bucket, self._key, self._upload_id, number, bytes(self._buffer)))
        self._buffer.clear()

    def commit(self) -> None:
        """
        Make the object visible.

        :raises OSError: OSS did not accept it. The older object stays, unless the last answer was lost.
        """
        if self._is_over:
            return
        if self._upload_id is None:
            self._client.put(self._bucket, self._key, bytes(self._buffer))
        else:
            if self._buffer:
                self._send_part()
            self._client.complete_upload(self._bucket, self._key, self._upload_id, self._etags)
        self._end()

    def discard(self) -> None:
        """Forget what was written. Raises nothing, so that the error that led here stays the one that is seen."""
        upload_id, is_over = self._upload_id, self._is_over
        self._end()
        if is_over or upload_id is None:
            return
        try:
            self._client.abort_upload(self._bucket, self._key, upload_id)
        except FileNotFoundError:
            pass
        except Exception as error:  # noqa: BLE001 - see above
            log.warning(
                "OSS: an unfinished upload of %s is left, which nobody sees and which costs storage: %s",
                redact(f"{self._bucket}/{self._key}"),
                error,
            )

    def _end(self) -> None:
        self._is_over = True
        # Whoever keeps the file keeps no data.
        self._buffer = bytearray()

    def close(self) -> None:
        """Commit, if closing does that."""
        if self.closed:
            return
        try:
            if self._commits_on_close:
                self.commit()
        except BaseException:
            self.discard()
            raise
        finally:
            super().close()

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()
        self.close()

    def __del__(self) -> None:
        # The base class would close the file, which commits it.
        if not self._is_over:
            self.discard()
