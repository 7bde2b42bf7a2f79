"""The operations of OSS that files need, over ``alibabacloud-oss-v2``. Every failure is an ``OSError``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import attrs

from airflow_provider_outbound.core.client.credentials import Signer
from airflow_provider_outbound.exceptions import OutboundBotConfigError
from airflow_provider_outbound.oss.connection import OssSettings
from airflow_provider_outbound.oss.errors import ask


@attrs.frozen(kw_only=True)
class Stored:
    """
    An object.

    :param encoding: Its Content-Encoding; listings do not have it.
    """

    key: str
    size: int
    etag: str
    modified: datetime | None
    encoding: str = ""


class OssClient:
    """
    A client of OSS. Threads may share it.

    Credentials are asked for with every request, so that temporary ones are renewed.

    :raises OutboundBotConfigError: the SDK is not installed.
    """

    def __init__(self, settings: OssSettings) -> None:
        try:
            import alibabacloud_oss_v2 as sdk
        except ModuleNotFoundError:
            raise OutboundBotConfigError(
                'paths at oss:// need alibabacloud-oss-v2; run: pip install "airflow-provider-outbound[oss]"'
            ) from None
        signer = Signer(settings.client)
        self._sdk: Any = sdk
        self._client: Any = sdk.Client(
            sdk.Config(
                region=settings.client.region_id,
                endpoint=settings.endpoint or None,
                credentials_provider=sdk.credentials.CredentialsProviderFunc(lambda: sdk.Credentials(*signer.keys())),
            )
        )

    def head(self, bucket: str, key: str) -> Stored:
        """
        Return what OSS knows of an object.

        :raises FileNotFoundError: there is none.
        """
        found = ask(lambda: self._client.head_object(self._sdk.HeadObjectRequest(bucket=bucket, key=key)))
        return Stored(
            key=key,
            size=found.content_length,
            etag=found.etag,
            modified=found.last_modified,
            encoding=found.content_encoding or "",
        )

    def iter_objects(
        self, bucket: str, prefix: str, *, delimiter: str | None = None, limit: int | None = None
    ) -> Iterator[Stored | str]:
        """
        Yield the objects whose keys begin with ``prefix``, and the common prefixes if there is a delimiter.

        :param limit: Yield about this many, from one request.
        """
        token = None
        while True:
            request = self._sdk.ListObjectsV2Request(
                bucket=bucket,
                prefix=prefix,
                delimiter=delimiter,
                continuation_token=token,
                max_keys=1000 if limit is None else limit,
            )
            page = self._list(request)
            for found in page.contents or ():
                yield Stored(key=found.key, size=found.size, etag=found.etag, modified=found.last_modified)
            for folder in page.common_prefixes or ():
                yield str(folder.prefix)
            if limit is not None or not page.is_truncated:
                return
            token = page.next_continuation_token

    def _list(self, request: Any) -> Any:
        return ask(lambda: self._client.list_objects_v2(request))

    def get(self, bucket: str, key: str, start: int, end: int, etag: str) -> bytes:
        """
        Return the bytes of an object from ``start`` up to ``end``, which is not included.

        :param etag: The object's ETag; an object that was replaced is an error.
        :raises ConnectionError: the answer broke off; another try may succeed.
        """
        request = self._sdk.GetObjectRequest(
            bucket=bucket,
            key=key,
            range_header=f"bytes={start}-{end - 1}",
            # Otherwise OSS answers with the whole object if the range is beyond its end.
            range_behavior="standard",
            if_match=etag,
        )
        data: bytes = ask(lambda: self._client.get_object(request).body.read())
        if len(data) != end - start:
            raise ConnectionError(f"{len(data)} of {end - start} bytes arrived")
        return data

    def put(self, bucket: str, key: str, body: bytes) -> None:
        """Write a whole object."""
        request = self._sdk.PutObjectRequest(bucket=bucket, key=key, body=body)
        ask(lambda: self._client.put_object(request))

    def start_upload(self, bucket: str, key: str) -> str:
        """Start a multipart upload and return its id. The object does not change before :meth:`complete_upload`."""
        request = self._sdk.InitiateMultipartUploadRequest(bucket=bucket, key=key)
        return str(ask(lambda: self._client.initiate_multipart_upload(request)).upload_id)

    def put_part(self, bucket: str, key: str, upload_id: str, number: int, body: bytes) -> str:
        """Send one part, numbered from 1, and return its ETag."""
        request = self._sdk.UploadPartRequest(
            bucket=bucket, key=key, upload_id=upload_id, part_number=number, body=body
        )
        return str(ask(lambda: self._client.upload_part(request)).etag)

    def complete_upload(self, bucket: str, key: str, upload_id: str, etags: Sequence[str]) -> None:
        """Make the object of the parts, all at once."""
        parts = [self._sdk.UploadPart(part_number=number, etag=etag) for number, etag in enumerate(etags, start=1)]
        request = self._sdk.CompleteMultipartUploadRequest(
            bucket=bucket,
            key=key,
            upload_id=upload_id,
            complete_multipart_upload=self._sdk.CompleteMultipartUpload(parts=parts),
        )
        ask(lambda: self._client.complete_multipart_upload(request))

    def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        """End an upload and delete its parts."""
        request = self._sdk.AbortMultipartUploadRequest(bucket=bucket, key=key, upload_id=upload_id)
        ask(lambda: self._client.abort_multipart_upload(request))

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object; there may be none."""
        ask(lambda: self._client.delete_object(self._sdk.DeleteObjectRequest(bucket=bucket, key=key)))
