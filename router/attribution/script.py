"""The tag as one script for one project: its modules put together, minified on first request, and its settings put in."""

import gzip
import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

MODULES = ("state", "options", "storage", "consent", "ga", "api", "format", "", "replace", "hydration", "life", "main")
"""The empty one: how numbers are found, `search`, or `old` for a project without scenarios (R13)."""
FOLDER = Path(__file__).parent / "tag"
ALIVE_SECONDS = 45
HOLD_SECONDS = 150

FRAME = """(() => {
try {
const settings = ROUTER_SETTINGS;

%s
} catch (refused) {}
})();
"""

# In a process of its own: the minifier brings Go's runtime along, with threads and signal handlers that a web worker should not have.
MINIFY = "import sys, minify; sys.stdout.write(minify.string('text/javascript', sys.stdin.read()))"


@dataclass(frozen=True)
class Script:
    """A script as it goes out, plain and compressed, with its entity tag."""

    body: bytes
    compressed: bytes
    etag: str


@lru_cache(maxsize=512)
def tag_script(base_url: str, key: str, *, old_pages: bool = False, debug: bool = False) -> Script:
    """The tag of the project with this key, for a server at `base_url`; in readable form with `debug`."""
    settings: dict[str, str | int] = {"base": base_url, "key": key, "alive": ALIVE_SECONDS, "hold": HOLD_SECONDS}
    source = _readable(old_pages) if debug else _minified(old_pages)
    return make_script(source.replace("ROUTER_SETTINGS", as_literal(settings), 1))


def make_script(text: str) -> Script:
    body = text.encode()
    return Script(body, gzip.compress(body, 9, mtime=0), hashlib.sha256(body).hexdigest()[:16])


def as_literal(value: Mapping[str, str | int]) -> str:
    """JSON that is safe in a script, also in one that a web master copies into a page."""
    literal = json.dumps(value, separators=(",", ":"))
    return literal.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def _readable(old_pages: bool) -> str:
    names = (name or ("old" if old_pages else "search") for name in MODULES)
    return FRAME % "\n".join((FOLDER / f"{name}.js").read_text("utf-8") for name in names)


@cache
def _minified(old_pages: bool) -> str:
    command = [sys.executable, "-P", "-c", MINIFY]
    return subprocess.run(command, input=_readable(old_pages), capture_output=True, encoding="utf-8", check=True).stdout  # noqa: S603 - our own words
