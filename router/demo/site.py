"""The pages of the demo: the example web site, a small shop with the tag on its pages; the telephone and the inbox, whose thin JSON
addresses pass each question on to the process beside us."""

import secrets
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from flask import Blueprint, Response, abort, jsonify, make_response, render_template, request
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.models import Lease, Visit
from router.demo import shop
from router.demo.company import read_places
from router.lib.phones import BadPhone, international, national, read_phone
from router.lib.tls import trusted_authorities
from router.scenarios.models import Scenario, TrackingNumber
from router.server import current_server
from router.voice.models import Call
from router.web.access import Audience, guard
from router.web.errors import Problem, read_json

PATIENCE = httpx.Timeout(3.0)


def demo_blueprint(name: str, **options: Any) -> Blueprint:
    """A blueprint of the demo, open to anybody who reaches this machine; nothing inline, nothing from elsewhere."""
    blueprint = guard(Blueprint(name, __name__, **options), Audience.PUBLIC)
    blueprint.after_request(_strict)
    return blueprint


def _strict(response: Response) -> Response:
    parts = urlsplit(current_server().settings.base_url)
    tag = f"'self' {parts.scheme}://{parts.netloc}"
    policy = f"default-src 'self'; script-src {tag}; connect-src {tag}; img-src 'self' data:; object-src 'none'; base-uri 'none'"
    response.headers["Content-Security-Policy"] = policy
    response.headers["Referrer-Policy"] = "strict-origin-when-cross-origin"
    response.headers["Cache-Control"] = "no-store"
    return response


def ask_outside(method: str, path: str, values: dict[str, Any] | None = None) -> dict[str, Any]:
    """One short request to the process beside us that plays the outside world.

    Raises:
        Problem: 503 when it does not answer; its own refusal otherwise.
    """
    places = read_places(current_server().settings.data_dir)
    if places is None:
        raise Problem(503, "The simulated exchange is not running. It is started by “router demo”.")
    try:
        with httpx.Client(timeout=PATIENCE, trust_env=False, verify=trusted_authorities()) as client:
            key = {"Authorization": f"Bearer {places.key}"}
            answer = client.request(method, places.address + path, json=values, headers=key)
            document: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError):
        raise Problem(503, "The simulated exchange does not answer. Start “router demo” again.") from None
    if answer.status_code >= 400:
        raise Problem(answer.status_code, str(document.get("detail", "The simulated exchange refuses that.")))
    return document


site = demo_blueprint("demo_site", static_folder="static", static_url_path="/demo/static")

ANALYTICS_SECONDS = 30 * 60


@site.get("/demo/")
def home() -> Response:
    return _page("demo/home.html", here="home")


@site.get("/demo/bikes/<slug>")
def bicycle(slug: str) -> Response:
    bicycle = next((bicycle for bicycle in shop.BICYCLES if bicycle.slug == slug), None)
    if bicycle is None:
        abort(404)
    return _page("demo/bicycle.html", here="bikes", bicycle=bicycle)


@site.get("/demo/contact")
def contact() -> Response:
    return _page("demo/contact.html", here="contact")


@site.get("/demo/decided")
def decided() -> dict[str, Any]:
    """What was decided about the browser that asks: `{visit: null}` as long as nothing was."""
    with current_server().database.reading() as session:
        project = _project(session)
        visitor = request.cookies.get(f"router_visitor_{project.key}", "")[:64] if project else ""
        if project is None or not visitor:
            return {"visit": None}
        newest = select(Visit).where(Visit.project_id == project.id, Visit.visitor == visitor)
        visit = session.scalar(newest.order_by(Visit.started_at.desc()).limit(1))
        if visit is None:
            return {"visit": None}
        numbers = (
            select(TrackingNumber.e164, Lease.shared, Scenario.title)
            .join(TrackingNumber, TrackingNumber.id == Lease.number_id)
            .join(Scenario, Scenario.id == Lease.scenario_id)
            .where(Lease.visit_id == visit.id, Lease.returned_at.is_(None))
            .order_by(Lease.id)
        )
        return {
            "visit": visit.number,
            "source": {
                "channel": visit.channel,
                "source": visit.source,
                "medium": visit.medium,
                "campaign": visit.campaign,
            },
            "numbers": [
                {"e164": row.e164, "display": national(row.e164), "shared": row.shared, "scenario": row.title}
                for row in session.execute(numbers)
            ],
        }


def _page(template: str, **values: Any) -> Response:
    with current_server().database.reading() as session:
        project = _project(session)
    response = make_response(
        render_template(
            template,
            shop=shop,
            key=project.key if project else "",
            written=national(shop.COUNTER),
            international=international(shop.COUNTER),
            dialled=shop.COUNTER,
            **values,
        )
    )
    # cookies as Google's own script would set them: there is no network here, and the tag reads them
    now = int(current_server().now().timestamp())
    if not request.cookies.get("_ga"):
        client = f"GA1.1.{secrets.randbelow(9 * 10**8) + 10**8}.{now}"
        response.set_cookie("_ga", client, 400 * 86400, path="/demo", samesite="Lax")
    session_cookie = request.cookies.get("_ga_DEMO000001") or f"GS2.1.s{now}$o1$g0$t{now}$j60$l0$h0"
    response.set_cookie("_ga_DEMO000001", session_cookie, ANALYTICS_SECONDS, path="/demo", samesite="Lax")
    return response


def _project(session: Session) -> Project | None:
    """The example company: the first project of the demo's database."""
    return session.scalar(select(Project).order_by(Project.id).limit(1))


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
