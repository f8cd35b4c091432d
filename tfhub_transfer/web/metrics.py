"""How much was asked and how long it took, as Prometheus reads it."""

from collections.abc import Callable

import prometheus_client

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST
_PREFIX = "tfhub_transfer"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """Numbers of one server.

    Args:
        waiting: How many rows wait to be answered.
    """

    def __init__(self, waiting: Callable[[], int]) -> None:
        # Its own, so that a process may have several servers.
        self._registry = prometheus_client.CollectorRegistry()
        of = {"registry": self._registry}
        self._requests = prometheus_client.Counter(
            f"{_PREFIX}_requests", "Requests that were answered", ["verb", "code"], **of
        )
        self._seconds = prometheus_client.Histogram(
            f"{_PREFIX}_request_seconds",
            "From the first byte of a request to its answer",
            ["verb"],
            buckets=_SECONDS,
            **of,
        )
        self._batch_rows = prometheus_client.Histogram(
            f"{_PREFIX}_batch_rows", "Rows of a batch", buckets=_ROWS, **of
        )
        self._batch_seconds = prometheus_client.Histogram(
            f"{_PREFIX}_batch_seconds", "Seconds of a batch", buckets=_SECONDS, **of
        )
        queue = prometheus_client.Gauge(f"{_PREFIX}_waiting_rows", "Rows that wait", **of)
        queue.set_function(waiting)
        prometheus_client.ProcessCollector(registry=self._registry)

    def answered(self, verb: str, code: int, seconds: float) -> None:
        """Counts a request.

        Args:
            verb: `predict`, `status` and so on; the same for all paths that nobody serves.
            code: HTTP's code of the answer.
            seconds: How long it took.
        """
        self._requests.labels(verb, str(code)).inc()
        self._seconds.labels(verb).observe(seconds)

    def batch(self, rows: int, seconds: float) -> None:
        """Counts a batch.

        Args:
            rows: How many it had.
            seconds: How long it took.
        """
        self._batch_rows.observe(rows)
        self._batch_seconds.observe(seconds)

    def written(self) -> bytes:
        """All of them, in Prometheus' text format."""
        return bytes(prometheus_client.generate_latest(self._registry))
