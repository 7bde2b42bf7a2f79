"""A server whose recordings come a byte at a time, and a process that downloads them."""

from __future__ import annotations

import http.server
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def dripping_server(seconds: float = 0.1) -> Iterator[tuple[str, threading.Event]]:
    """Its address, and whether it was asked; whatever is asked for, bytes come for ever, one in so many seconds."""
    stop, asked = threading.Event(), threading.Event()

    class Dripping(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(b"RIFF")
            asked.set()
            try:
                while not stop.wait(seconds):
                    self.wfile.write(b"\0")
            except OSError:
                pass

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Dripping) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            stop.set()
            server.shutdown()
            thread.join()


def download(ledger_url: str, key: str, api: str, group: str, folder: str) -> None:
    """Download as a task does, whose process Airflow ends by SIGTERM."""
    import signal

    from airflow_provider_outbound.core.client import ClientSettings, OutboundBotClient
    from airflow_provider_outbound.core.ledger import open_ledger
    from airflow_provider_outbound.core.results import download_recordings

    def end(*_: object) -> None:
        raise SystemExit(3)

    signal.signal(signal.SIGTERM, end)
    settings = ClientSettings(access_key_id="k", access_key_secret="s", endpoint=api, instance_id="i")
    with open_ledger(ledger_url, [key]) as ledger:
        print(time.time(), flush=True)
        download_recordings(ledger, OutboundBotClient(settings), group, Path(folder), timeout=3600.0)


if __name__ == "__main__":
    download(*sys.argv[1:])
