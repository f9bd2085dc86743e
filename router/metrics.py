"""Counters for /metrics, summed over all web processes when PROMETHEUS_MULTIPROC_DIR is set (`router serve` sets it)."""

import os

from prometheus_client import REGISTRY as OWN_PROCESS
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess

REQUESTS = Counter("router_requests_total", "Requests answered", ["room", "status"])
SECONDS = Histogram(
    "router_request_seconds",
    "Time to answer a request",
    ["room"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15),
)
FAILED_DOCUMENTS = Counter("router_last_resort_total", "Calls answered by the last resort")


def render(extra: dict[str, float]) -> bytes:
    """The text format: all processes' counters, and gauges that the caller read from the database."""
    registry = OWN_PROCESS
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # prometheus_client has no hints here
    lines = [f"# TYPE {name.split('{')[0]} gauge\n{name} {value:g}\n" for name, value in sorted(extra.items())]
    return generate_latest(registry) + "".join(lines).encode()
