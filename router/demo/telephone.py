"""The demo's telephone and inbox: pages, and thin JSON addresses that pass each question on to the process beside us."""

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
    return render_template("demo/phone.html", here="phone", shop=shop, numbers=_numbers(), dialled=_asked_number())


@telephone.get("/demo/inbox")
def inbox() -> str:
    return render_template("demo/inbox.html", here="inbox", shop=shop)


@telephone.post("/demo/phone/calls")
def place_call() -> Response:
    asked = _json()
    caller = str(asked.get("from") or "").strip()[:LONGEST_CALLER]
    to = _number(str(asked.get("to") or ""))
    call = ask_outside("POST", "/calls", {"from": _caller(caller), "to": to})
    return jsonify(_shown(call))


@telephone.get("/demo/phone/calls")
def latest_calls() -> Response:
    calls = ask_outside("GET", "/calls")["items"][:LATEST]
    receipts = _receipts([call["sid"] for call in calls])
    return jsonify(items=[_shown(call) | {"receipt": receipts.get(call["sid"])} for call in calls])


@telephone.get("/demo/phone/calls/<sid>")
def one_call(sid: str) -> Response:
    call = ask_outside("GET", f"/calls/{quote(sid, safe='')}")
    return jsonify(_shown(call) | {"receipt": _receipts([sid]).get(sid), "log": [_line(one) for one in call["log"]]})


@telephone.post("/demo/phone/calls/<sid>/press")
def press(sid: str) -> Response:
    asked = _json()
    button = {name: str(asked.get(name) or "") for name in ("what", "leg", "digits")}
    return jsonify(_shown(ask_outside("POST", f"/calls/{quote(sid, safe='')}/press", button)))


@telephone.get("/demo/inbox/items")
def inbox_items() -> Response:
    return jsonify(ask_outside("GET", "/demo/inbox/items"))


def _json() -> dict[str, Any]:
    """The body; a page from elsewhere cannot send this type without asking first, and is never allowed to."""
    if request.mimetype != "application/json":
        raise Problem(415, "The telephone understands application/json.")
    return read_json(request)


def _number(text: str) -> str:
    try:
        return read_phone(text, shop.COUNTRY)
    except BadPhone as error:
        raise Problem(422, str(error), "to") from None


def _caller(text: str) -> str:
    """E.164 when it is a number, the carrier's word for a withheld one when it is empty, else what was typed."""
    if not text:
        return WITHHELD
    try:
        return read_phone(text, shop.COUNTRY)
    except BadPhone:
        return text


def _numbers() -> list[dict[str, Any]]:
    """The tracking numbers of all scenarios, for the telephone's directory."""
    wanted = (
        select(TrackingNumber.e164, Scenario.title, TrackingNumber.static_source)
        .join(Scenario, Scenario.id == TrackingNumber.scenario_id)
        .order_by(Scenario.id, TrackingNumber.id)
    )
    with current_server().database.reading() as session:
        return [
            {"e164": row.e164, "display": national(row.e164), "note": _note(row.title, row.static_source)}
            for row in session.execute(wanted)
        ]


def _note(title: str, static_source: dict[str, Any] | None) -> str:
    return f"{title}: {static_source['source']}" if static_source else title


def _asked_number() -> str:
    """The number of a link to the telephone, in national form; nothing when it is none."""
    try:
        return national(_number(request.args.get("to", "")))
    except Problem:
        return ""


def _receipts(sids: list[str]) -> dict[str, int]:
    with current_server().database.reading() as session:
        return {row.sid: row.id for row in session.execute(select(Call.sid, Call.id).where(Call.sid.in_(sids)))}


def _shown(call: dict[str, Any]) -> dict[str, Any]:
    """A call with its numbers as people write them."""
    legs = [leg | {"display": international(leg["to"]), "name": shop.LINES.get(leg["to"], "")} for leg in call["legs"]]
    caller = "withheld" if call["caller"] == WITHHELD else international(call["caller"])
    kept = {key: value for key, value in call.items() if key not in ("log", "legs")}
    return kept | {"legs": legs, "caller_display": caller, "to_display": international(call["to"])}


def _line(exchange: dict[str, Any]) -> dict[str, Any]:
    """One request of the exchange, as the telephone's log shows it."""
    path = "/" + exchange["url"].split("/", 3)[3]
    kept = {name: exchange[name] for name in ("kind", "at", "method", "status", "error", "body")}
    return kept | {"path": path, "state": exchange["values"].get("CallStatus", "")}
