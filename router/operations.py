"""For balancers, operators and alarms: can this process take calls, is everything ready, and how busy is it."""

import time
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network

from flask import Blueprint, Flask, Response, g, jsonify, request
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from router import metrics
from router.accounts.access import Audience, guard
from router.accounts.facts import KEY_FACT, fits_key, read_fact, remember_fact
from router.accounts.tokens import find_actor
from router.database import schema_state
from router.integrations.models import Delivery
from router.server import Server, current_server
from router.voice.models import Call
from router.web import Problem, client_address, within
from router.worker import HEARTBEAT

WORKER_SILENT = timedelta(seconds=60)
LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
WRONG_KEY = "This process has another ROUTER_SECRET_KEY than the database. Calls are forwarded, all else waits."
OPEN_WITHOUT_KEY = ("/voice/", "/healthz", "/readyz", "/static/", "/bootstrap/")

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
    report = {
        "database": database,
        "schema": state if state != "old" else "old: run router migrate",
        "worker": _worker(server, server.now()) if state == "current" else "unknown",
        "key": "fits" if key_fits(server) else "another: check ROUTER_SECRET_KEY",
    }
    good = report["schema"] == "current" and report["worker"] == "running" and report["key"] == "fits"
    return jsonify(report), 200 if good else 503


@operations.get("/metrics")
def show_metrics() -> Response:
    """Summed over all web processes. For the machine itself, or with an operator's token."""
    if not _may_see_metrics():
        raise Problem(403, "Metrics are for this machine itself, or for an operator's token.")
    with current_server().database.reading() as session:
        gauges = _gauges(session, current_server().now())
    return Response(metrics.render(gauges), mimetype="text/plain; version=0.0.4")


def init_operations(app: Flask, server: Server) -> None:
    key_fits(server)

    @app.before_request
    def begin() -> None:
        g.began = time.perf_counter()
        if not request.path.startswith(OPEN_WITHOUT_KEY) and not key_fits(server):
            raise Problem(503, WRONG_KEY)

    @app.after_request
    def count(response: Response) -> Response:
        room = request.blueprint or "none"
        metrics.REQUESTS.labels(room, response.status_code).inc()
        if began := g.get("began"):
            metrics.SECONDS.labels(room).observe(time.perf_counter() - began)
        return response


def key_fits(server: Server) -> bool:
    """Whether this process has the key whose fingerprint stands in the database; the first process writes it, a rotation renews it.

    A database that cannot be asked is no reason to refuse; the answer of one that can is kept.
    """
    if server.registries.get(KEY_FACT):
        return True
    try:
        fits = _compare_key(server)
    except SQLAlchemyError:
        return True
    server.registries[KEY_FACT] = fits
    return fits


def _compare_key(server: Server) -> bool:
    with server.database.reading() as session:
        fits, known = fits_key(session, server.keys), read_fact(session, KEY_FACT)
    if fits is False:
        return False
    if known != server.keys.fingerprint:
        with server.database.writing() as session:
            remember_fact(session, KEY_FACT, server.keys.fingerprint, server.now())
    return True


def _worker(server: Server, now: datetime) -> str:
    with server.database.reading() as session:
        seen = read_fact(session, HEARTBEAT)
    if seen is None:
        return "never seen: start router worker"
    return "running" if now - datetime.fromisoformat(seen) < WORKER_SILENT else f"silent since {seen}"


def _may_see_metrics() -> bool:
    address = client_address(request, current_server().settings.trusted_proxies)
    if within(address, LOOPBACK):
        return True
    with current_server().database.reading() as session:
        actor = find_actor(session, request.headers.get("Authorization", ""))
    return actor is not None and actor.is_operator


def _gauges(session: Session, now: datetime) -> dict[str, float]:
    states = session.execute(select(Delivery.state, func.count()).group_by(Delivery.state))
    oldest = session.scalar(
        select(func.min(Delivery.next_at)).where(Delivery.state == "pending", Delivery.next_at <= now)
    )
    gauges = {f'router_deliveries{{state="{state}"}}': float(count) for state, count in states}
    gauges["router_oldest_due_delivery_seconds"] = (now - oldest).total_seconds() if oldest else 0.0
    gauges["router_calls_in_progress"] = float(
        session.scalar(select(func.count()).select_from(Call).where(Call.ended_at.is_(None))) or 0
    )
    return gauges
