"""A server that answers whatever a test wants."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from airflow_provider_outbound.core.client import ClientSettings, OutboundBotClient
from support.web import Handler, served


class Scripted:
    """
    A server that gives prepared answers and remembers what it was asked.

    A simulator refuses in good form only; a gateway, a proxy or a new version of the API need not.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[tuple[int, bytes]] = []
        #: Query parameters of each request.
        self.requests: list[dict[str, str]] = []
        #: Called with the headers of each request.
        self.on_headers: Callable[[str], object] = str

    def answer(self, status: int, body: object) -> None:
        """Prepare the next answer; the last one prepared is repeated."""
        self.answers.append((status, body if isinstance(body, bytes) else json.dumps(body).encode()))

    def take(self) -> tuple[int, bytes]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def client(self, **settings: Any) -> OutboundBotClient:
        """A client of this server."""
        given = {"access_key_id": "LTAI5tExample", "access_key_secret": "s3cretKey", "instance_id": "i-1"}
        return OutboundBotClient(ClientSettings(**(given | {"endpoint": self.url} | settings)))


@contextmanager
def running() -> Iterator[Scripted]:
    """A server of that kind, on a free port."""

    class Answering(Handler):
        def do_POST(self) -> None:
            query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
            state.requests.append({name: values[0] for name, values in query.items()})
            state.on_headers(str(self.headers))
            self.answer(*state.take())

    with served(Answering) as url:
        state = Scripted(url)
        yield state
