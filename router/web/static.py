"""Static files as browsers keep them: a page names each with the version of its content, so that it is asked for once, and never old."""

from collections.abc import Callable
from functools import lru_cache, wraps
from hashlib import sha256
from pathlib import Path
from typing import Any

from flask import Flask, Response, request

KEEP = "public, max-age=31536000, immutable"
"""For a year, without asking again (RFC 8246)."""


@lru_cache(maxsize=256)
def content_version(path: Path, modified_ns: int) -> str:
    """The same for the same content, on every machine."""
    return sha256(path.read_bytes()).hexdigest()[:12]


def file_version(app: Flask, endpoint: str | None, filename: str | None) -> str:
    """Of the static file that this endpoint serves under this name, as it is now; "": it serves none."""
    blueprint, _, name = (endpoint or "").rpartition(".")
    folder = (app.blueprints[blueprint] if blueprint else app).static_folder
    if name != "static" or not folder or not filename:
        return ""
    path = Path(folder, filename)
    return content_version(path, path.stat().st_mtime_ns) if path.is_file() else ""


def init_static(app: Flask) -> None:
    """A file that is asked for without its version, or with that of another release, is asked for again each time. To be called when all
    blueprints are registered."""

    @app.url_defaults
    def add_version(endpoint: str, values: dict[str, Any]) -> None:
        if version := file_version(app, endpoint, values.get("filename")):
            values["v"] = version

    def keeping(view: Callable[..., Any]) -> Callable[..., Response]:
        @wraps(view)
        def keep(**values: Any) -> Response:
            response, asked = app.make_response(view(**values)), request.args.get("v")
            is_file = response.status_code in (200, 304)
            if asked and is_file and asked == file_version(app, request.endpoint, values.get("filename")):
                response.headers["Cache-Control"] = KEEP
            return response

        return keep

    for endpoint, view in app.view_functions.items():
        if endpoint.rpartition(".")[2] == "static":
            app.view_functions[endpoint] = keeping(view)
