"""The floor: the least Flask application that answers the two hot paths by the product's own means: a page view by its statements over bare
psycopg, an inbound call by the same line in the same kind of journal.

It knows one project, believes what it is told, and takes every parameter that does not depend on the request from the product's
request that was watched. What the product costs above this is what its rules, checks and layers cost.
"""

import json
import os
import secrets
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from flask import Flask, Response, request

from bench.statements import Statement, kept
from router.carriers.twilio.webhooks import Twilio
from router.voice.journal import Journal

LOOKS = 5


class Repeated:
    """A watched request, run again with other values; moments of that request become the moment of this one."""

    def __init__(self, statements: list[Statement]) -> None:
        self.statements = statements
        moments = [[n for n, v in one.parameters.items() if _is_now(v, statements)] for one in statements]
        self._moments = moments

    def run(self, connection: psycopg.Connection[Any], index: int, now: datetime, values: Mapping[str, Any]) -> Any:
        one = self.statements[index]
        given = {**one.parameters, **dict.fromkeys(self._moments[index], now)}
        given.update((name, values[name]) for name in given.keys() & values.keys())
        return connection.execute(one.sql, given, prepare=None)

    def index(self, *words: str) -> int:
        """The one statement that begins so."""
        found = [i for i, one in enumerate(self.statements) if all(word in one.sql for word in words)]
        assert len(found) == 1, (words, [one.sql[:80] for one in self.statements])
        return found[0]


def _is_now(value: Any, statements: list[Statement]) -> bool:
    moments = [v for one in statements for v in one.parameters.values() if isinstance(v, datetime)]
    return isinstance(value, datetime) and value == max(moments)


def create_app() -> Flask:
    app = Flask("floor")
    url = os.environ["ROUTER_DATABASE_URL"].replace("postgresql+psycopg://", "postgresql://")
    found = kept(Path(os.environ["BENCH_STATEMENTS"]))
    carrier = Twilio(os.environ["ROUTER_PUBLIC_URL"], [os.environ["TWILIO_AUTH_TOKEN"]])
    page_view = PageView(Repeated(found["L"]), Repeated(found["look again"]))
    call = InboundCall(Path(os.environ["BENCH_STATEMENTS"]).with_name("record"))
    local = threading.local()

    def connection() -> psycopg.Connection[Any]:
        """Each thread's own: no pool is cheaper than any pool."""
        if not hasattr(local, "connection"):
            local.connection = psycopg.connect(url)
        return local.connection  # type: ignore[no-any-return]  # a thread-local has no types

    app.extensions["floor"] = connection

    @app.get("/healthz")
    def health() -> str:
        return "ok"

    @app.post("/tag/<key>/visits")
    def visit(key: str) -> Response:
        body = json.loads(request.get_data())
        with connection().transaction():
            answer = page_view.answer(connection(), key, body, datetime.now(UTC))
        return Response(json.dumps(answer), 201, mimetype="application/json")

    @app.post("/voice/inbound")
    def inbound() -> Response:
        if not carrier.verify(request):
            return Response(status=403)
        return Response(call.answer(request.form, datetime.now(UTC)), mimetype="text/xml")

    @app.post("/voice/constant")
    def constant() -> Response:
        return Response(call.document("CA0", "+14155550100"), mimetype="text/xml")

    return app


class PageView:
    """Project, visit, look, take, lease."""

    def __init__(self, repeated: Repeated, again: Repeated) -> None:
        self.repeated, self.again = repeated, again
        self.project = repeated.index("FROM project")
        self.visit = repeated.index("INSERT INTO visit")
        self.look = repeated.index("UNION ALL")
        self.take = repeated.index("UPDATE pool_number")
        self.lease = repeated.index("INSERT INTO lease")

    def answer(
        self, connection: psycopg.Connection[Any], key: str, body: Mapping[str, Any], now: datetime
    ) -> dict[str, Any]:
        run, visitor = self.repeated.run, secrets.token_urlsafe(21)
        found = run(connection, self.project, now, {"tag_key": key})
        project = dict(zip((column.name for column in found.description), found.fetchall()[0], strict=True))
        values = {"project_id": project["id"], "visitor": visitor, "sequence": f"visit_number_{project['id']}"}
        values |= {"page": body["page"], "referrer": body["referrer"]}
        visit_id, number = run(connection, self.visit, now, values).fetchone()
        scenario_id = project["scenario_id"]
        for attempt in range(LOOKS):
            looking = (self.again, 0) if attempt else (self.repeated, self.look)
            rows = looking[0].run(connection, looking[1], now, {"scenario": scenario_id}).fetchall()
            number_id, e164, turn, *_, last_sign_at = min(rows, key=lambda row: row[-1])
            lent = {"number": number_id, "seen_turn": turn, "new_turn": turn + 1, "new_group_turn": turn + 1}
            lent |= {"new_visitor": visitor, "seen_sign_at": last_sign_at, "scenario": scenario_id}
            if run(connection, self.take, now, lent).fetchone():
                break
        lease = {"scenario_id": scenario_id, "number_id": number_id, "visit_id": visit_id, "turn": turn + 1}
        run(connection, self.lease, now, lease)
        return {"visit": number, "visitor": visitor, "token": visitor, "numbers": [{"e164": e164}]}


class InboundCall:
    """Signature, a line in the journal, a document."""

    def __init__(self, kept_record: Path) -> None:
        self.record = json.loads(kept_record.read_text())
        self.journal = Journal(kept_record.parent / "floor-journal")

    def answer(self, form: Mapping[str, str], now: datetime) -> str:
        call = self.record["call"] | {"sid": form["CallSid"], "to": form["To"], "number_e164": form["To"]}
        call["caller"] = {"e164": form["From"], "raw": form["From"]}
        at = now.isoformat()
        self.journal.append(self.record | {"sid": form["CallSid"], "call": call, "at": at, "start": at})
        return self.document(form["CallSid"], form["From"])

    def document(self, sid: str, caller: str) -> str:
        to = self.record["flow"]["destinations"][0]["to"]
        return (
            f'<Response><Dial answerOnBridge="true" timeout="20" callerId="{caller}"'
            f' action="https://calls.example.net/voice/dial/{sid}/1" method="POST"><Number>{to}</Number></Dial></Response>'
        )
