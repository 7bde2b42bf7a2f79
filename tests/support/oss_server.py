"""
A stand-in for Alibaba Cloud OSS, written from its documentation and sharing no code with its SDK.

It verifies signatures of version 4 and refuses what OSS refuses. Buckets are in the path, as the SDK addresses a server
by its IP address.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from typing import Any, cast
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import attrs

from support.web import served

REGION = "cn-hangzhou"
KEY_ID, SECRET = "LTAI5tStandInForOss", "standInSecret"
#: All parts of an upload but the last must have this size.
LEAST_PART = 100 * 1024
_MODIFIED = datetime(2026, 11, 26, tzinfo=UTC)


@attrs.define
class Stored:
    """An object."""

    body: bytes
    headers: dict[str, str] = attrs.Factory(dict)

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.body, usedforsecurity=False).hexdigest().upper()}"'


@attrs.define
class RefusalError(Exception):
    """An error of OSS."""

    status: int
    code: str
    detail: str = ""


class OssServer:
    """The state of the stand-in, which tests read and change."""

    def __init__(self) -> None:
        #: Secret and perhaps token of each AccessKey id.
        self.keys: dict[str, tuple[str, str | None]] = {KEY_ID: (SECRET, None)}
        self.buckets: dict[str, dict[str, Stored]] = {}
        #: Bucket, key and parts of each unfinished upload.
        self.uploads: dict[str, tuple[str, str, dict[int, bytes]]] = {}
        #: Operations that the policy of the key does not allow.
        self.denied: set[str] = set()
        #: The most keys of one page of a listing.
        self.page = 1000
        #: Called with the name of an operation before it is done.
        self.before: Callable[[str], None] = lambda _: None
        #: How many bodies of GetObject break off in the middle.
        self.breaks = 0
        #: The operations that were asked for and had a valid signature.
        self.operations: list[str] = []
        self.url = ""

    def reset(self, *buckets: str) -> None:
        """Start anew, with empty buckets."""
        url = self.url
        self.__init__()  # type: ignore[misc]
        self.url = url
        self.buckets = {name: {} for name in buckets}

    def put(self, path: str, body: bytes, **headers: str) -> None:
        """Put an object into place, as somebody else would."""
        bucket, _, key = path.partition("/")
        self.buckets.setdefault(bucket, {})[key] = Stored(body, headers)

    def body(self, path: str) -> bytes | None:
        """The content of an object; ``None`` if there is none."""
        bucket, _, key = path.partition("/")
        found = self.buckets[bucket].get(key)
        return None if found is None else found.body

    def connection(self, conn_type: str = "oss", **extra: Any) -> str:
        """A connection to this server, as the value of an environment variable."""
        fields = {"access_key_id": KEY_ID, "access_key_secret": SECRET, "region": REGION, "endpoint": self.url}
        return json.dumps({"conn_type": conn_type, "extra": fields | extra})


@contextmanager
def oss_server() -> Iterator[OssServer]:
    """A stand-in on a free port of this machine."""
    state = OssServer()
    handler = type("Handler", (_Handler,), {"state": state})
    with served(cast("Any", handler)) as state.url:
        yield state


class _Handler(BaseHTTPRequestHandler):
    state: OssServer
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        bucket, _, key = unquote(parts.path).removeprefix("/").partition("/")
        try:
            signed = _string_to_sign(self.command, f"/{bucket}/{key}", query, self.headers)
            _check_signature(self.state.keys, self.headers, signed)
            operation, answer = _route(self.command, key, query)
            self.state.operations.append(operation)
            if operation in self.state.denied:
                raise RefusalError(403, "AccessDenied")
            self.state.before(operation)
            if bucket not in self.state.buckets:
                raise RefusalError(404, "NoSuchBucket")
            status, headers, content = answer(self.state, bucket, key, query, self.headers, body)
        except RefusalError as refusal:
            status, content = refusal.status, _error(refusal, self.path)
            headers = {"Content-Type": "application/xml", "x-oss-err": base64.b64encode(content).decode()}
            operation = ""
        self._answer(status, headers, content, breaks=operation == "GetObject" and self.state.breaks > 0)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle

    def _answer(self, status: int, headers: dict[str, str], content: bytes, *, breaks: bool) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers, "x-oss-request-id": "6F00AB"}.items():
            self.send_header(name, value)
        self.end_headers()
        if breaks:
            self.state.breaks -= 1
            content = content[: len(content) // 2]
            self.close_connection = True
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _error(refusal: RefusalError, path: str) -> bytes:
    # Like OSS, it tells the caller more than a log should have.
    fields = {
        "Code": refusal.code,
        "Message": refusal.detail or refusal.code,
        "RequestId": "6F00AB",
        "OSSAccessKeyId": KEY_ID,
        "StringToSign": path,
        "EC": "0003-00000001",
    }
    root = ET.Element("Error")
    for name, value in fields.items():
        ET.SubElement(root, name).text = value
    return ET.tostring(root)


def _string_to_sign(method: str, resource: str, query: dict[str, str], headers: Any) -> str:
    pairs = sorted((quote(name, safe=""), quote(value, safe="")) for name, value in query.items())
    lower = {name.lower(): value.strip() for name, value in headers.items()}
    signed = {n: v for n, v in lower.items() if n.startswith("x-oss-") or n in ("content-type", "content-md5")}
    canonical = [
        method,
        quote(resource, safe="/"),
        "&".join(f"{name}={value}" if value else name for name, value in pairs),
        "".join(f"{name}:{signed[name]}\n" for name in sorted(signed)),
        "",
        lower.get("x-oss-content-sha256", ""),
    ]
    return hashlib.sha256("\n".join(canonical).encode()).hexdigest()


def _check_signature(keys: dict[str, tuple[str, str | None]], headers: Any, signed: str) -> None:
    found = re.fullmatch(
        r"OSS4-HMAC-SHA256 Credential=([^/,]+)/(\d{8})/([^/]+)/oss/aliyun_v4_request,Signature=([0-9a-f]{64})",
        headers.get("Authorization", ""),
    )
    if found is None:
        raise RefusalError(403, "AccessDenied", "no signature of version 4")
    key_id, day, region, signature = found.groups()
    if key_id not in keys:
        raise RefusalError(403, "InvalidAccessKeyId")
    secret, token = keys[key_id]
    if headers.get("x-oss-security-token") != token:
        raise RefusalError(403, "SecurityTokenExpired" if token else "InvalidSecurityToken")
    if region != REGION:
        raise RefusalError(400, "InvalidArgument", "Invalid signing region in Authorization header.")
    time = headers.get("x-oss-date", "")
    at = datetime.strptime(time, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if abs(datetime.now(UTC) - at) > timedelta(minutes=15) or not time.startswith(day):
        raise RefusalError(403, "RequestTimeTooSkewed")
    key = f"aliyun_v4{secret}".encode()
    for step in (day, region, "oss", "aliyun_v4_request"):
        key = hmac.digest(key, step.encode(), "sha256")
    text = f"OSS4-HMAC-SHA256\n{time}\n{day}/{region}/oss/aliyun_v4_request\n{signed}"
    if not hmac.compare_digest(hmac.new(key, text.encode(), "sha256").hexdigest(), signature):
        raise RefusalError(403, "SignatureDoesNotMatch")


Answer = tuple[int, dict[str, str], bytes]


def _route(method: str, key: str, query: dict[str, str]) -> tuple[str, Callable[..., Answer]]:
    """The name of an operation, and what answers it."""
    if not key:
        if method != "GET" or query.get("list-type") != "2":
            raise RefusalError(501, "NotImplemented")
        return "ListObjects", _list
    if "uploadId" in query:
        return {
            "PUT": ("UploadPart", _put_part),
            "POST": ("CompleteMultipartUpload", _complete),
            "DELETE": ("AbortMultipartUpload", _abort),
        }[method]
    if method == "POST" and "uploads" in query:
        return "InitiateMultipartUpload", _initiate
    return {
        "GET": ("GetObject", _get),
        "HEAD": ("HeadObject", _head),
        "PUT": ("PutObject", _put),
        "DELETE": ("DeleteObject", _delete),
    }[method]


def _found(state: OssServer, bucket: str, key: str) -> Stored:
    if key not in state.buckets[bucket]:
        raise RefusalError(404, "NoSuchKey")
    return state.buckets[bucket][key]


def _head(state: OssServer, bucket: str, key: str, *_: Any) -> Answer:
    stored = _found(state, bucket, key)
    headers = {"ETag": stored.etag, "Last-Modified": format_datetime(_MODIFIED, usegmt=True), **stored.headers}
    return 200, {"Content-Length": str(len(stored.body)), **headers}, b""


def _get(state: OssServer, bucket: str, key: str, _query: Any, headers: Any, _body: bytes) -> Answer:
    stored = _found(state, bucket, key)
    if headers.get("If-Match", stored.etag) != stored.etag:
        raise RefusalError(412, "PreconditionFailed")
    found = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("Range", ""))
    if found is None:
        return 200, {"ETag": stored.etag}, stored.body
    start, last = map(int, found.groups())
    if start >= len(stored.body) or last < start:
        if headers.get("x-oss-range-behavior") == "standard":
            raise RefusalError(416, "InvalidRange")
        return 200, {"ETag": stored.etag}, stored.body
    return 206, {"ETag": stored.etag}, stored.body[start : last + 1]


def _put(state: OssServer, bucket: str, key: str, _query: Any, _headers: Any, body: bytes) -> Answer:
    state.buckets[bucket][key] = Stored(body)
    return 200, {"ETag": state.buckets[bucket][key].etag}, b""


def _delete(state: OssServer, bucket: str, key: str, *_: Any) -> Answer:
    state.buckets[bucket].pop(key, None)
    return 204, {}, b""


def _initiate(state: OssServer, bucket: str, key: str, *_: Any) -> Answer:
    upload_id = uuid.uuid4().hex
    state.uploads[upload_id] = (bucket, key, {})
    root = ET.Element("InitiateMultipartUploadResult")
    for name, value in {"Bucket": bucket, "Key": key, "UploadId": upload_id}.items():
        ET.SubElement(root, name).text = value
    return 200, {"Content-Type": "application/xml"}, ET.tostring(root)


def _parts(state: OssServer, bucket: str, key: str, query: dict[str, str]) -> dict[int, bytes]:
    upload = state.uploads.get(query["uploadId"])
    if upload is None or upload[:2] != (bucket, key):
        raise RefusalError(404, "NoSuchUpload")
    return upload[2]


def _put_part(state: OssServer, bucket: str, key: str, query: dict[str, str], _headers: Any, body: bytes) -> Answer:
    _parts(state, bucket, key, query)[int(query["partNumber"])] = body
    return 200, {"ETag": Stored(body).etag}, b""


def _complete(state: OssServer, bucket: str, key: str, query: dict[str, str], _headers: Any, body: bytes) -> Answer:
    parts = _parts(state, bucket, key, query)
    named = [(int(part.findtext("PartNumber") or 0), part.findtext("ETag")) for part in ET.fromstring(body)]
    if sorted(named) != named:
        raise RefusalError(400, "InvalidPartOrder")
    for number, etag in named:
        if number not in parts or Stored(parts[number]).etag != etag:
            raise RefusalError(400, "InvalidPart")
        if number != named[-1][0] and len(parts[number]) < LEAST_PART:
            raise RefusalError(400, "EntityTooSmall")
    state.buckets[bucket][key] = Stored(b"".join(parts[number] for number, _ in named))
    del state.uploads[query["uploadId"]]
    return 200, {"Content-Type": "application/xml"}, b"<CompleteMultipartUploadResult/>"


def _abort(state: OssServer, bucket: str, key: str, query: dict[str, str], *_: Any) -> Answer:
    _parts(state, bucket, key, query)
    del state.uploads[query["uploadId"]]
    return 204, {}, b""


def _list(state: OssServer, bucket: str, _key: str, query: dict[str, str], *_: Any) -> Answer:
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    after = query.get("continuation-token", "")
    names: dict[str, Stored | None] = {}
    for key, stored in state.buckets[bucket].items():
        head, found, _rest = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
        if key.startswith(prefix):
            names.setdefault(*((prefix + head + delimiter, None) if found else (key, stored)))
    left = sorted(name for name in names if name > after)
    shown = left[: min(state.page, int(query.get("max-keys") or 100))]
    root = ET.Element("ListBucketResult")
    ET.SubElement(root, "EncodingType").text = query.get("encoding-type")
    ET.SubElement(root, "IsTruncated").text = str(len(shown) < len(left)).lower()
    if len(shown) < len(left):
        ET.SubElement(root, "NextContinuationToken").text = shown[-1]
    for name in shown:
        listed = names[name]
        entry = ET.SubElement(root, "CommonPrefixes" if listed is None else "Contents")
        ET.SubElement(entry, "Prefix" if listed is None else "Key").text = quote(name)
        if listed is not None:
            ET.SubElement(entry, "Size").text = str(len(listed.body))
            ET.SubElement(entry, "ETag").text = listed.etag
            ET.SubElement(entry, "LastModified").text = _MODIFIED.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return 200, {"Content-Type": "application/xml"}, ET.tostring(root)
