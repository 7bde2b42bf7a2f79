"""A stand-in for MaxCompute: instances, tables and the tunnel, in the encoding of pyodps itself."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from support.web import served

KEY_ID = "stand-in"
Rows = Sequence[Sequence[Any]]


class MaxCompute:
    """
    What the stand-in holds.

    :ivar results: What each statement would select now. An unknown statement fails.
    :ivar instances: The rows that each instance, a statement that has run, selected then; ``None``: it has failed.
    :ivar tables: Rows by table and partition.
    :ivar requests: The ranges that were read.
    """

    def __init__(self, columns: Mapping[str, str]) -> None:
        self.columns = columns
        self.results: dict[str, Rows] = {}
        self.tables: dict[tuple[str, str | None], Rows] = {}
        self.statements: list[str] = []
        self.instances: list[Rows | None] = []
        self.ranges: list[tuple[int, int]] = []
        self.sessions: dict[str, Rows] = {}
        #: Rows that an answer leaves out, without an error.
        self.lost = 0
        #: Whether the results of instances are deleted.
        self.has_expired = False
        #: From this range on, they are sent only once ``resume`` is set.
        self.pause_from: int | None = None
        self.resume = threading.Event()
        self.url = ""

    @property
    def connection(self) -> str:
        extra = {"access_key_id": KEY_ID, "access_key_secret": "x", "project": "p", "endpoint": self.url}
        return json.dumps({"conn_type": "maxcompute", "extra": extra})

    def run(self, statement: str) -> int:
        """Run a statement; return the number of its instance."""
        self.statements.append(statement)
        rows = self.results.get(statement)
        self.instances.append(None if rows is None else [*rows])
        return len(self.instances) - 1

    def begin(self, rows: Rows, **schema: Any) -> dict[str, Any]:
        """Open a download session: a snapshot of these rows."""
        session = f"session-{len(self.sessions)}"
        self.sessions[session] = [*rows]
        columns = [{"name": name, "type": kind} for name, kind in self.columns.items()]
        described = {"columns": columns, "partitionKeys": [], **schema}
        return {"DownloadID": session, "Status": "NORMAL", "RecordCount": len(rows), "Schema": described}

    def encoded(self, session: str, start: int, count: int) -> bytes:
        """Return rows of a session as the tunnel sends them."""
        # Imported here, because that takes five seconds, and whoever collects tests imports this module.
        from odps.models import Record, TableSchema
        from odps.tunnel.io.writer import BaseRecordWriter
        from odps.types import Column

        self.ranges.append((start, count))
        if self.pause_from is not None and len(self.ranges) > self.pause_from:
            self.resume.wait()
        columns = [Column(name, kind) for name, kind in self.columns.items()]
        schema = TableSchema(columns=columns)
        out = io.BytesIO()
        writer = BaseRecordWriter(schema, out)
        for row in self.sessions[session][start : start + count - self.lost]:
            writer.write(Record(schema=schema, values=[*row]))
        writer.close()
        return out.getvalue()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: MaxCompute

    def do_POST(self) -> None:
        path, query = self._begin()
        if path.endswith("/instances"):
            instance = self.state.run(self.body.split("<![CDATA[")[1].split("]]>")[0].strip().rstrip(";"))
            self._answer(201, b"", Location=f"{self.state.url}{path}/{instance}")
        elif "/instances/" in path and "downloads" in query:
            rows = self._rows(path)
            if rows is None or self.state.has_expired:
                self._fail("NoSuchObject", "The result has expired. 13800138000")
            else:
                self._json(self.state.begin(rows))
        elif "/tables/" in path and "downloads" in query:
            rows = self.state.tables.get((path.rpartition("/")[2], query.get("partition")))
            if rows is None:
                self._fail("NoSuchPartition", "The specified partition does not exist.")
            else:
                self._json(self.state.begin(rows, partitionKeys=[{"name": "pt", "type": "string"}]))
        else:
            self._fail("NotSimulated", path)

    def do_GET(self) -> None:
        path, query = self._begin()
        if path.endswith("/tunnel"):
            self._answer(200, urlsplit(self.state.url).netloc.encode())
        elif "data" in query:
            start, count = (int(part) for part in query["rowrange"].strip("()").split(","))
            self._answer(200, self.state.encoded(query["downloadid"], start, count))
        elif "taskstatus" in query or "result" in query:
            is_known = self._rows(path) is not None
            status = "Success" if is_known else "Failed"
            result = (
                "" if is_known else "<Result><![CDATA[ODPS-0130131:[1,15] Table not found - 13800138000]]></Result>"
            )
            task = f'<Task Type="SQL"><Name>AnonymousSQLTask</Name><Status>{status}</Status>{result}</Task>'
            self._xml(f"<Instance><Status>Terminated</Status><Tasks>{task}</Tasks></Instance>")
        elif "/instances/" in path:
            self._xml("<Instance><Status>Terminated</Status></Instance>")
        else:
            self._fail("NotSimulated", self.path)

    def _begin(self) -> tuple[str, dict[str, str]]:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        return parts.path, query

    def _rows(self, path: str) -> Rows | None:
        return self.state.instances[int(path.rpartition("/")[2])]

    def _json(self, value: Any) -> None:
        self._answer(200, json.dumps(value).encode())

    def _xml(self, text: str) -> None:
        self._answer(200, f'<?xml version="1.0"?>{text}'.encode())

    def _fail(self, code: str, message: str) -> None:
        self._answer(404, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode())

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        if f"ODPS {KEY_ID}:" not in self.headers.get("Authorization", ""):
            status, body = 401, b"<Error><Code>Unauthorized</Code><Message>no signature</Message></Error>"
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "x-odps-request-id": "r", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
        """Print nothing."""


@contextmanager
def serve(columns: Mapping[str, str]) -> Iterator[MaxCompute]:
    """Serve a stand-in on a free port."""
    state = MaxCompute(columns)
    with served(type("Handler", (_Handler,), {"state": state})) as state.url:
        yield state
