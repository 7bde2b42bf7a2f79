"""Health of ``outbound collect`` for service managers and Prometheus: ``/healthz``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector as MetricSource

from airflow_provider_outbound.exceptions import OutboundBotConfigError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.collect.worker import Collector

#: How long ago the broker may have answered for the collector to be ready (seconds). A poll takes up to half of that.
READY_SECONDS = 60.0
_LABELS = ("topic", "consumer_group")


def serve_health(collector: Collector, host: str, port: int) -> ThreadingHTTPServer:
    """
    Serve the health of a collector in a thread of its own.

    :param host: Address to listen on.
    :param port: Port to listen on; 0 for any free one.
    :return: The server; it ends with the process.
    :raises OutboundBotConfigError: the address cannot be used.
    """
    registry = CollectorRegistry()
    registry.register(_Metrics(collector))

    class Handler(_Handler):
        def answers(self) -> Mapping[str, tuple[int, str, bytes]]:
            return _answers(collector, registry)

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except (OSError, OverflowError) as error:
        raise OutboundBotConfigError(
            f"--health-port: {host}:{port} cannot be used ({error}); give another port or --health-host"
        ) from None
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="collect-health", daemon=True).start()
    return server


def _answers(collector: Collector, registry: CollectorRegistry) -> Mapping[str, tuple[int, str, bytes]]:
    """Status, content type and body of each path."""
    ago = collector.report().contact_ago
    ready = ago is not None and ago <= READY_SECONDS
    words = "ready" if ready else "the broker has not answered" + ("" if ago is None else f" for {ago:.0f} s")
    return {
        "/healthz": (200, "text/plain; charset=utf-8", b"alive\n"),
        "/readyz": (200 if ready else 503, "text/plain; charset=utf-8", f"{words}\n".encode()),
        "/metrics": (200, CONTENT_TYPE_LATEST, generate_latest(registry)),
    }


class _Handler(BaseHTTPRequestHandler):
    """Answers GET requests."""

    timeout = 10.0

    def answers(self) -> Mapping[str, tuple[int, str, bytes]]:
        raise NotImplementedError

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        unknown = 404, "text/plain; charset=utf-8", b"try /healthz, /readyz or /metrics\n"
        status, kind, body = self.answers().get(path, unknown)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names them so
        """Log nothing: a probe every few seconds would hide what matters."""


class _Metrics(MetricSource):
    """The collector's numbers, read when they are asked for."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics. Times that are not known yet are left out."""
        report = self._collector.report()
        labels = (report.topic, report.consumer_group)
        for name, words, count in (
            ("outbound_messages_stored", "Messages stored in the ledger.", self._collector.stored),
            ("outbound_messages_repeated", "Messages that were stored before.", self._collector.repeated),
            ("outbound_messages_quarantined", "Messages that could not be read.", self._collector.quarantined),
        ):
            counter = CounterMetricFamily(name, words, labels=_LABELS)
            counter.add_metric(labels, count)
            yield counter
        for name, words, seconds in (
            ("outbound_collector_lag_seconds", "Seconds since the broker last answered.", report.contact_ago),
            ("outbound_last_message_seconds", "Seconds since the last message arrived.", report.message_ago),
        ):
            if seconds is not None:
                gauge = GaugeMetricFamily(name, words, labels=_LABELS)
                gauge.add_metric(labels, seconds)
                yield gauge
