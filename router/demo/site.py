"""The example web site: a small shop with the tag on its pages, and what all pages of the demo share."""

import secrets
from typing import Any
from urllib.parse import urlsplit

import httpx
from flask import Blueprint, Response, abort, make_response, render_template, request
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.models import Lease, Visit
from router.demo import shop
from router.demo.company import read_places
from router.lib.http_client import trusted_authorities
from router.lib.phones import international, national
from router.scenarios.models import Scenario, TrackingNumber
from router.server import current_server
from router.web.access import Audience, guard
from router.web.errors import Problem

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
    _pretend_analytics(response)
    return response


def _project(session: Session) -> Project | None:
    """The example company: the first project of the demo's database."""
    return session.scalar(select(Project).order_by(Project.id).limit(1))


def _pretend_analytics(response: Response) -> None:
    """Cookies as Google's own script would set them: there is no network here, and the tag reads them."""
    now = int(current_server().now().timestamp())
    if not request.cookies.get("_ga"):
        client = f"GA1.1.{secrets.randbelow(9 * 10**8) + 10**8}.{now}"
        response.set_cookie("_ga", client, 400 * 86400, path="/demo", samesite="Lax")
    session = request.cookies.get("_ga_DEMO000001") or f"GS2.1.s{now}$o1$g0$t{now}$j60$l0$h0"
    response.set_cookie("_ga_DEMO000001", session, ANALYTICS_SECONDS, path="/demo", samesite="Lax")
