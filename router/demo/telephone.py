"""The demo's telephone and inbox: pages, and thin JSON addresses that pass each question on to the process beside us."""

from contextlib import suppress
from typing import Any
from urllib.parse import quote

from flask import Response, jsonify, render_template, request
from sqlalchemy import select

from router.demo import shop
from router.demo.site import ask_outside, demo_blueprint
from router.lib.phones import BadPhone, international, national, read_phone
from router.scenarios.models import Scenario, TrackingNumber
from router.server import current_server
from router.voice.models import Call
from router.web.errors import Problem, read_json

telephone = demo_blueprint("demo_telephone")

LATEST = 6
WITHHELD = "anonymous"
LONGEST_CALLER = 40


@telephone.errorhandler(Problem)
def refuse(problem: Problem) -> Response:
    """Refusals are read by the page's own script."""
    return problem.response()


@telephone.get("/demo/phone")
def phone() -> str:
    """The tracking numbers of all scenarios, and the number of the link to this page, when it is one."""
    rows = (
        select(TrackingNumber.e164, Scenario.title, TrackingNumber.static_source)
        .join(Scenario, Scenario.id == TrackingNumber.scenario_id)
        .order_by(Scenario.id, TrackingNumber.id)
    )
    with current_server().database.reading() as session:
        numbers = [
            {
                "e164": row.e164,
                "display": national(row.e164),
                "note": f"{row.title}: {row.static_source['source']}" if row.static_source else row.title,
            }
            for row in session.execute(rows)
        ]
    try:
        dialled = national(read_phone(request.args.get("to", ""), shop.COUNTRY))
    except BadPhone:
        dialled = ""
    return render_template("demo/phone.html", here="phone", shop=shop, numbers=numbers, dialled=dialled)


@telephone.get("/demo/inbox")
def inbox() -> str:
    return render_template("demo/inbox.html", here="inbox", shop=shop)


@telephone.post("/demo/phone/calls")
def place_call() -> Response:
    """From a number, a name of the carrier as it was typed, or withheld when nothing was."""
    values = _json()
    caller = str(values.get("from") or "").strip()[:LONGEST_CALLER] or WITHHELD
    try:
        to = read_phone(str(values.get("to") or ""), shop.COUNTRY)
    except BadPhone as error:
        raise Problem(422, str(error), "to") from None
    with suppress(BadPhone):
        caller = read_phone(caller, shop.COUNTRY)
    return jsonify(_shown(ask_outside("POST", "/calls", {"from": caller, "to": to})))


@telephone.get("/demo/phone/calls")
def latest_calls() -> Response:
    calls = ask_outside("GET", "/calls")["items"][:LATEST]
    receipts = _receipts([call["sid"] for call in calls])
    return jsonify(items=[_shown(call) | {"receipt": receipts.get(call["sid"])} for call in calls])


@telephone.get("/demo/phone/calls/<sid>")
def one_call(sid: str) -> Response:
    call = ask_outside("GET", f"/calls/{quote(sid, safe='')}")
    log = [
        {name: exchange[name] for name in ("kind", "at", "method", "status", "error", "body")}
        | {"path": "/" + exchange["url"].split("/", 3)[3], "state": exchange["values"].get("CallStatus", "")}
        for exchange in call["log"]
    ]
    return jsonify(_shown(call) | {"receipt": _receipts([sid]).get(sid), "log": log})


@telephone.post("/demo/phone/calls/<sid>/press")
def press(sid: str) -> Response:
    values = _json()
    button = {name: str(values.get(name) or "") for name in ("what", "leg", "digits")}
    return jsonify(_shown(ask_outside("POST", f"/calls/{quote(sid, safe='')}/press", button)))


@telephone.get("/demo/inbox/items")
def inbox_items() -> Response:
    return jsonify(ask_outside("GET", "/demo/inbox/items"))


def _json() -> dict[str, Any]:
    """The body; a page from elsewhere cannot send this type without asking first, and is never allowed to."""
    if request.mimetype != "application/json":
        raise Problem(415, "The telephone understands application/json.")
    return read_json(request)


def _receipts(sids: list[str]) -> dict[str, int]:
    with current_server().database.reading() as session:
        return {row.sid: row.id for row in session.execute(select(Call.sid, Call.id).where(Call.sid.in_(sids)))}


def _shown(call: dict[str, Any]) -> dict[str, Any]:
    """A call with its numbers as people write them."""
    legs = [leg | {"display": international(leg["to"]), "name": shop.LINES.get(leg["to"], "")} for leg in call["legs"]]
    caller = "withheld" if call["caller"] == WITHHELD else international(call["caller"])
    kept = {key: value for key, value in call.items() if key not in ("log", "legs")}
    return kept | {"legs": legs, "caller_display": caller, "to_display": international(call["to"])}
