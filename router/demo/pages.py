"""What all pages of the demo share: a strict content policy, and where the simulated exchange is."""

from typing import Any
from urllib.parse import urlsplit

import httpx
from flask import Blueprint, Response

from router.accounts.access import Audience, guard
from router.demo.places import read_places
from router.server import current_server
from router.web import Problem

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


def ask_outside(method: str, path: str, document: dict[str, Any] | None = None) -> dict[str, Any]:
    """One short request to the process beside us that plays the outside world.

    Raises:
        Problem: 503 when it does not answer; its own refusal otherwise.
    """
    places = read_places(current_server().settings.data_dir)
    if places is None:
        raise Problem(503, "The simulated exchange is not running. It is started by “router demo”.")
    try:
        with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
            key = {"Authorization": f"Bearer {places.key}"}
            answer = client.request(method, places.address + path, json=document, headers=key)
            found: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError):
        raise Problem(503, "The simulated exchange does not answer. Start “router demo” again.") from None
    if answer.status_code >= 400:
        raise Problem(answer.status_code, str(found.get("detail", "The simulated exchange refuses that.")))
    return found
