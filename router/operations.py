"""For balancers, operators and alarms: whether this process can take calls, whether everything is ready, how busy it is, and its logs.

Counters for /metrics are summed over all web processes when PROMETHEUS_MULTIPROC_DIR is set (`router serve` sets it). Logs are JSON
lines on standard error: each line of a request carries its call's id, phone numbers are masked, secrets never appear."""

import logging
import os
import sys
import time
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any

import structlog
from flask import Blueprint, Flask, Response, g, jsonify, request
from prometheus_client import REGISTRY as OWN_PROCESS
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from structlog.typing import Processor

from router.accounts.models import KEY_FACT, read_fact, remember_fact
from router.accounts.tokens import find_token
from router.db import schema_state
from router.integrations.models import Delivery, DeliveryState, ReceiverHealth
from router.lib.metrics import record
from router.lib.phones import masked
from router.server import Server, current_server
from router.voice.events import NO_APPLIER, state_of_journals
from router.voice.following import routing_of
from router.voice.models import Call
from router.voice.recordings import count_recordings, oldest_due_recording
from router.web.access import Audience, guard
from router.web.errors import LOOPBACK, Problem, client_address, within
from router.worker import worker_clock_fault, worker_silence

REQUESTS = Counter("router_requests_total", "Requests answered", ["room", "status"])
SECONDS = Histogram(
    "router_request_seconds",
    "Time to answer a request",
    ["room"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15),
)


def render(extra: dict[str, float]) -> bytes:
    """The text format: the counters of all processes, and gauges that the caller read from the database."""
    registry = OWN_PROCESS
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # prometheus_client has no hints here
    lines = [f"# TYPE {name.split('{')[0]} gauge\n{name} {value:g}\n" for name, value in sorted(extra.items())]
    return generate_latest(registry) + "".join(lines).encode()


WRONG_KEY = "This process has another ROUTER_SECRET_KEY than the database. Calls are forwarded, all else waits."
OPEN_WITHOUT_KEY = ("/voice/", "/sounds/", "/healthz", "/readyz", "/static/", "/bootstrap/")

operations = guard(Blueprint("operations", __name__), Audience.PUBLIC)


@operations.get("/healthz")
def health() -> Response:
    """This process answers; a call gets at least its fallback destination, whatever else is broken."""
    return Response("ok\n", mimetype="text/plain")


@operations.get("/readyz")
def ready() -> tuple[Response, int]:
    server = current_server()
    try:
        state = schema_state(server.database)
        database = "reachable"
    except SQLAlchemyError:
        state, database = "unknown", "unreachable"
    worker = journal = "unknown"
    if state == "current":
        with server.database.reading() as session:
            worker = worker_silence(session, server.now()) or worker_clock_fault(session, server.now()) or "running"
            journal = state_of_journals(session, server.now())
    routing = routing_of(server)
    accounts = f"{len(routing.accounts)} of projects, readable" if routing.accounts else "the server's own"
    if routing.unreadable_accounts:
        projects = ", ".join(map(str, routing.unreadable_accounts))
        accounts = f"sealed under another ROUTER_SECRET_KEY: calls of project {projects} are taken from the server's account only"
    report = {
        "database": database,
        "schema": state if state != "old" else "old: run router migrate",
        "worker": worker,
        "routing": routing.fault or routing.notice or "follows the database",
        "journal": journal,
        "carrier_accounts": accounts,
        "key": "fits" if key_fits(server) else "another: check ROUTER_SECRET_KEY",
    }
    good = report["schema"] == "current" and report["worker"] == "running" and report["key"] == "fits"
    good = good and not routing.unreadable_accounts
    good = good and not routing.fault and journal in ("applied", NO_APPLIER)
    return jsonify(report), 200 if good else 503


@operations.get("/metrics")
def show_metrics() -> Response:
    """Summed over all web processes. For the machine itself, or with an operator's token.

    While the database cannot be asked the machine itself still gets the counters, which tell how many callers got the last resort.
    """
    server = current_server()
    now = server.now()
    local = within(client_address(request, server.settings.trusted_proxies), LOOPBACK)
    gauges = {"router_database_up": 0.0}
    try:
        with server.database.reading() as session:
            if not local:
                token = find_token(session, request.headers.get("Authorization", ""))
                if token is None or token.project_id is not None:  # an operator's token is of no project
                    raise Problem(403, "Metrics are for this machine itself, or for an operator's token.")
            states = session.execute(select(Delivery.state, func.count().label("amount")).group_by(Delivery.state))
            gauges |= {f'router_deliveries{{state="{row.state}"}}': float(row.amount) for row in states}
            gauges.setdefault('router_deliveries{state="unconfirmed"}', 0.0)
            off = select(ReceiverHealth.receiver).where(ReceiverHealth.switched_off_at.is_not(None))
            due = select(func.min(Delivery.next_at)).where(
                Delivery.state == DeliveryState.PENDING, Delivery.next_at <= now, Delivery.receiver.not_in(off)
            )
            oldest = session.scalar(due)
            gauges["router_receivers_switched_off"] = float(
                session.scalar(select(func.count()).select_from(off.subquery())) or 0
            )
            gauges["router_oldest_due_delivery_seconds"] = (now - oldest).total_seconds() if oldest else 0.0
            for state, amount in count_recordings(session).items():
                gauges[f'router_recordings{{state="{state}"}}'] = float(amount)
            since = oldest_due_recording(session, now)
            gauges["router_oldest_due_recording_seconds"] = (now - since).total_seconds() if since else 0.0
            in_progress = select(func.count()).select_from(Call).where(Call.ended_at.is_(None))
            gauges["router_calls_in_progress"] = float(session.scalar(in_progress) or 0)
            gauges["router_database_up"] = 1.0
    except SQLAlchemyError:
        if not local:
            raise
    return Response(render(gauges), mimetype="text/plain; version=0.0.4")


def init_operations(app: Flask) -> None:
    @app.before_request
    def begin() -> None:
        g.began = time.perf_counter()
        if not request.path.startswith(OPEN_WITHOUT_KEY) and not key_fits(current_server()):
            raise Problem(503, WRONG_KEY)

    @app.after_request
    def count(response: Response) -> Response:
        requests, seconds = _counters(request.blueprint or "none", response.status_code)
        began = g.get("began", time.perf_counter())
        record(requests.inc, lambda: seconds.observe(time.perf_counter() - began))
        return response


@lru_cache(maxsize=1024)
def _counters(room: str, status: int) -> tuple[Counter, Histogram]:
    """Looked up by their labels once: `labels` takes as long as to count does."""
    return REQUESTS.labels(room, status), SECONDS.labels(room)


def key_fits(server: Server) -> bool:
    """Whether this process has the key whose fingerprint stands in the database. The first process writes the fingerprint, a rotation
    renews it. While the database cannot be asked the key is taken as fitting; the database's answer is kept."""
    if server.key_fits:
        return True
    try:
        with server.database.reading() as session:
            known = read_fact(session, KEY_FACT)
        fits = known is None or known in server.keys.fingerprints
        if fits and known != server.keys.fingerprint:
            with server.database.writing() as session:
                remember_fact(session, KEY_FACT, server.keys.fingerprint, server.now())
    except SQLAlchemyError:
        return True
    server.key_fits = fits
    return fits


UNMASKED = ("timestamp", "level", "logger", "call", "path")


def configure_logs(level: str) -> None:
    """Sends structlog's and the standard library's lines the same way."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.format_exc_info,
        _mask,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # httpx names every address it asks with its query, alembic each look at the schema
    for chatty in ("httpx", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _mask(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in line.items():
        if name not in UNMASKED and not name.startswith("_"):
            line[name] = _masked(value)
    return line


def _masked(value: Any) -> Any:
    """Masks text also inside of containers; a value that is neither a number nor a plain container is written as text."""
    if isinstance(value, dict):
        return {_masked(key): _masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_masked(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else masked(str(value))
