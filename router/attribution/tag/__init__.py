"""The tag: one script for each project, made of the modules in `src`, which are minified on the first request, with the project's settings
put in; browsers and CDNs may keep it for five minutes. And how it is installed: one line of HTML, and two sources of a content security
policy."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import zopfli.gzip
from flask import Blueprint, Response, request
from markupsafe import Markup
from sqlalchemy import exists, select

from router.accounts.models import Project
from router.scenarios.models import Scenario
from router.server import current_server
from router.web.access import Audience, guard

FOUND_BY = {True: "old", False: "search"}
"""How numbers are found: by the old classes (R13) on pages of a project without scenarios, else by how they are written."""
PARTS = [
    "consent",
    "ga",
    "state",
    "hydration",
    "format",
    "FOUND_BY",
    "life",
    "replace",
    "api",
    "options",
    "storage",
    "main",
]
"""The modules, in the order that compresses best."""
FOLDER = Path(__file__).parent / "src"

FRAME = """(() => {
try {
const settings = ROUTER_SETTINGS;

%s
} catch (refused) {}
})();
"""

# esbuild makes the same script 95 bytes larger (5,041 bytes compressed, of 5,000 that a tag may have), and real modules, which cannot
# assign each other's variables, larger still.
# In a process of its own: the minifier brings Go's runtime along, with threads and signal handlers that a web worker should not have.
MINIFY = "import sys, minify; sys.stdout.write(minify.string('text/javascript', sys.stdin.read()))"


@dataclass(frozen=True)
class Script:
    """A script as it goes out, plain and compressed, with its entity tag."""

    body: bytes
    etag: str

    @cached_property
    def compressed(self) -> bytes:
        """Gzip by zopfli, which takes some 40 ms for a tag."""
        return bytes(zopfli.gzip.compress(self.body))


@dataclass(frozen=True)
class TagOptions:
    """What a project says about its tag; `tag_address`: where its site serves it; `old_pages`: R13 holds for it; `ignore_automation`: it
    is silent in browsers that a program drives; `ga_stream`: whose session it asks Google Analytics for, where there is only one."""

    consent: str = "full"
    gpc_refuses: bool = False
    tag_address: str = ""
    old_pages: bool = False
    ignore_automation: bool = False
    ga_stream: str = ""


@lru_cache(maxsize=512)
def tag_script(base_url: str, key: str, options: TagOptions = TagOptions(), debug: bool = False) -> Script:
    """The tag of the project with this key, for a server at `base_url`; in readable form with `debug`."""
    source = _readable(options.old_pages) if debug else _minified(options.old_pages)
    settings: dict[str, str | int] = {"base": options.tag_address or base_url, "key": key}
    if options.consent != "full":  # what is as usual is left out
        settings["consent"] = options.consent
    if options.ga_stream:
        settings["ga"] = options.ga_stream
    switches = {"gpc": options.gpc_refuses, "own": options.tag_address, "webdriver": options.ignore_automation}
    settings |= {name: 1 for name, is_on in switches.items() if is_on}
    literal = "{" + ",".join(f"{name}:{as_literal(value)}" for name, value in settings.items()) + "}"
    return make_script(source.replace("ROUTER_SETTINGS", literal, 1))


def make_script(text: str) -> Script:
    body = text.encode()
    return Script(body, hashlib.sha256(body).hexdigest()[:16])


def as_literal(value: Mapping[str, str | int] | str | int) -> str:
    """JSON that is safe in a script, also in a script that a web master copies into a page."""
    literal = json.dumps(value, separators=(",", ":"))
    return literal.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def _readable(old_pages: bool) -> str:
    return FRAME % "\n".join((FOLDER / f"{name}.js").read_text("utf-8") for name in modules(old_pages))


def modules(old_pages: bool) -> list[str]:
    return [FOUND_BY[old_pages] if name == "FOUND_BY" else name for name in PARTS]


@cache
def _minified(old_pages: bool) -> str:
    command = [sys.executable, "-P", "-c", MINIFY]
    source = _readable(old_pages)
    return subprocess.run(command, input=source, capture_output=True, encoding="utf-8", check=True).stdout  # noqa: S603 - our own words


CACHE_SECONDS = 300
KEY = re.compile(r"[A-Za-z0-9_-]{1,32}")

tag_files = guard(Blueprint("tag_files", __name__), Audience.PUBLIC)

SUSPENDED = make_script("/* This project is suspended: its pages keep their own numbers. */\n")
UNKNOWN = make_script("/* There is no project with this key. */\n")

_HAS_SCENARIO = exists().where(Scenario.project_id == Project.id, Scenario.deleted_at.is_(None))
_OPTIONS = select(Project.suspended_at, Project.consent, Project.gpc_refuses, Project.tag_address).add_columns(
    Project.ignore_automation, Project.ga_stream, (~_HAS_SCENARIO).label("old_pages")
)


@tag_files.get("/tag/<key>.js")
def tag(key: str) -> Response:
    server, project = current_server(), None
    if KEY.fullmatch(key):
        with server.database.reading() as session:
            project = session.execute(_OPTIONS.where(Project.key == key)).one_or_none()
    if project is None:
        script = UNKNOWN
    elif project.suspended_at:
        script = SUSPENDED
    else:
        options = TagOptions(**{name: getattr(project, name) for name in TagOptions.__annotations__})
        script = tag_script(server.settings.base_url, key, options, "debug" in request.args)
    response = Response(script.body, mimetype="text/javascript", status=404 if script is UNKNOWN else 200)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.headers["Access-Control-Allow-Origin"] = "*"
    if script is UNKNOWN:
        response.headers["Cache-Control"] = "no-store"
        return response
    if request.accept_encodings["gzip"]:
        response.set_data(script.compressed)
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"
    response.headers["Cache-Control"] = f"public, max-age={CACHE_SECONDS}"
    response.set_etag(script.etag, weak=True)
    response.make_conditional(request)
    return response


def script_address(base_url: str, key: str) -> str:
    return f"{base_url}/tag/{key}.js"


def snippet(base_url: str, key: str) -> str:
    """The line of HTML that includes the tag."""
    return str(Markup('<script async src="{}"></script>').format(script_address(base_url, key)))


def csp_lines(base_url: str) -> dict[str, str]:
    """The source that each directive of a content security policy needs; nothing inline, no eval."""
    parts = urlsplit(base_url)
    origin = f"{parts.scheme}://{parts.netloc}"
    return {"script-src": origin, "connect-src": origin}
