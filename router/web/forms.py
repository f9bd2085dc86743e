"""What the selects of forms offer: countries, currencies, time zones, roles.

Buttons in rows that act at once: with JavaScript the answer is a sentence, without it the page that they stood on."""

from collections.abc import Callable
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from flask import flash, jsonify, redirect, request
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from router.lib.formats import CURRENCIES, named_countries
from router.server import current_server
from router.web.errors import Problem

AREAS = (
    "Africa/",
    "America/",
    "Antarctica/",
    "Arctic/",
    "Asia/",
    "Atlantic/",
    "Australia/",
    "Europe/",
    "Indian/",
    "Pacific/",
)

COUNTRIES = [("", "None: numbers are typed with +"), *named_countries()]
CURRENCY_CHOICES = [(code, code) for code in sorted(CURRENCIES)]
ROLES = [
    ("owner", "Owner: everything, people and tokens too"),
    ("admin", "Admin: changes scenarios and numbers"),
    ("viewer", "Viewer: reads"),
]
REPEAT_CREDITS = [
    ("first_call", "The source of the caller's first call"),
    ("last_non_direct", "The last known source that is not direct"),
    ("own_visit", "This call's own visit"),
]
TELL_INTERNAL = [
    ("nobody", "Nobody"),
    ("webhooks", "Webhooks, where they stand as internal"),
    ("all", "Everybody: CRM and analytics too"),
]
CONSENT_CHOICES = [
    ("full", "A number, with cookie and click ids"),
    ("limited", "A number, without cookie or click ids"),
    ("none", "No number: the page keeps its own"),
]


def timezone_choices() -> list[tuple[str, str]]:
    names = sorted(name for name in available_timezones() if name.startswith(AREAS))
    return [(name, name.replace("_", " ")) for name in ("UTC", *names)]


def local_path(address: str | None) -> str | None:
    """The address if it is a path of this server, else None: nobody is led elsewhere by a link to the sign-in page."""
    if not address or not address.startswith("/") or "\\" in address or any(ord(sign) < 33 for sign in address):
        return None
    parts = urlsplit(address)
    return None if parts.scheme or parts.netloc or address.startswith("//") else address


def act_at_once(do: Callable[[Session], str], otherwise: str) -> Response:
    """Does it in one transaction and says what `do` says, or why it was refused.

    Programs of ours ask for JSON and get `{said}` or a problem; a form is led back to its field `back`, else to `otherwise`;
    a refusal with a `review` page leads there.

    Raises:
        Problem: what was to be changed is not there, for a form.
    """
    by_script = request.accept_mimetypes.best == "application/json"
    try:
        with current_server().database.writing() as session:
            said = do(session)
    except Problem as refusal:
        if by_script:
            return refusal.response()
        if refusal.status == 404:
            raise
        flash(refusal.detail, "bad")
        if review := refusal.more.get("review"):
            return redirect(str(review))
    else:
        if by_script:
            return jsonify(said=said)
        flash(said)
    return redirect(local_path(request.form.get("back")) or otherwise)
