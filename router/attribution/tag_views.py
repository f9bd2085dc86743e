"""Serving the tag: one script for each project, which browsers and CDNs may keep for five minutes."""

import re

from flask import Blueprint, Response, request
from sqlalchemy import exists, select

from router.accounts.access import Audience, guard
from router.accounts.models import Project
from router.attribution.script import Script, TagOptions, make_script, tag_script
from router.scenarios.models import Scenario
from router.server import Server, current_server

CACHE_SECONDS = 300
KEY = re.compile(r"[A-Za-z0-9_-]{1,32}")

tag_files = guard(Blueprint("tag_files", __name__), Audience.PUBLIC)

SUSPENDED = make_script("/* This project is suspended: its pages keep their own numbers. */\n")
UNKNOWN = make_script("/* There is no project with this key. */\n")

_HAS_SCENARIO = exists().where(Scenario.project_id == Project.id, Scenario.deleted_at.is_(None))
_SAID = select(
    *(Project.suspended_at, Project.consent, Project.gpc_refuses, Project.tag_address, ~_HAS_SCENARIO),
    Project.ignore_automation,
)


@tag_files.get("/tag/<key>.js")
def tag(key: str) -> Response:
    server = current_server()
    script = _script_of(server, key)
    response = Response(script.body, mimetype="text/javascript", status=404 if script is UNKNOWN else 200)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.headers["Access-Control-Allow-Origin"] = "*"
    if script is UNKNOWN:
        response.headers["Cache-Control"] = "no-store"
        return response
    return _cached(response, script)


def _script_of(server: Server, key: str) -> Script:
    if not KEY.fullmatch(key):
        return UNKNOWN
    with server.database.reading() as session:
        found = session.execute(_SAID.where(Project.key == key)).one_or_none()
    if found is None:
        return UNKNOWN
    suspended_at, consent, gpc_refuses, own_address, old_pages, ignore_automation = found
    if suspended_at:
        return SUSPENDED
    options = TagOptions(consent, gpc_refuses, own_address, bool(old_pages), ignore_automation)
    return tag_script(server.settings.base_url, key, options, "debug" in request.args)


def _cached(response: Response, script: Script) -> Response:
    if request.accept_encodings["gzip"]:
        response.set_data(script.compressed)
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"
    response.headers["Cache-Control"] = f"public, max-age={CACHE_SECONDS}"
    response.set_etag(script.etag, weak=True)
    response.make_conditional(request)
    return response
