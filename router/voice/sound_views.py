"""Settings, Sounds: what flows play, uploaded, listened to, replaced and removed; the same for programs; and where the carrier fetches
them."""

from contextlib import closing
from typing import Any

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from pydantic import BaseModel, Field
from sqlalchemy import select
from werkzeug.wrappers import Response as AnyResponse

from router.accounts.audit import changing
from router.accounts.sessions import require_person, require_token
from router.lib.audio import CONTENT_TYPES
from router.lib.file_store import StoreError, store_named
from router.scenarios.models import Sound
from router.scenarios.sounds import players_of, sounds_of
from router.server import current_server
from router.voice.sounds import (
    MOST_BYTES,
    MOST_SOUNDS,
    find_sound,
    keep_sound,
    name_of_file,
    parse_name,
    remove_sound,
    send_sound,
)
from router.web.access import Audience, current_project, guard, needs
from router.web.api import Instant, described, page_of
from router.web.errors import Problem, iso
from router.web.forms import Form, TextField
from router.web.stored_files import send_stored

MOST_SENT = 8 * 1024 * 1024
"""Of a form, so that whoever brings a file that is somewhat too large is told so at its field."""
TYPES = tuple(CONTENT_TYPES.values())

sound_files = guard(Blueprint("sound_files", __name__, url_prefix="/sounds"), Audience.PUBLIC)
sound_pages = guard(Blueprint("sounds", __name__, url_prefix="/settings/sounds"), Audience.PEOPLE, require_person)
sounds_api = guard(
    Blueprint("sounds_api", __name__, url_prefix="/api/v1/projects/<int:project_id>/sounds"),
    Audience.PROGRAMS,
    require_token,
)


@sound_files.get("/<address>")
def fetch(address: str) -> Response:
    return send_sound(current_server(), address)


class SoundForm(Form):
    name = TextField()


@sound_pages.url_value_preprocessor
def allow_a_file(endpoint: str | None, _: Any) -> None:
    """Runs before the hooks of requests, of which the CSRF check reads the form."""
    if endpoint in ("sounds.add", "sounds.replace"):
        request.max_content_length = MOST_SENT


@sound_pages.get("")
def table() -> str:
    return _page(SoundForm())


@sound_pages.post("")
@needs("admin")
def add() -> AnyResponse | tuple[str, int]:
    form = SoundForm(request.form)
    try:
        data, file_name = _sent()
        name = parse_name(form.name.data.strip() or name_of_file(file_name))
        keep_sound(current_server(), changing, data, name)
    except Problem as problem:
        if problem.field != "name":
            return _page(form, error=problem.detail), problem.status
        form.refuse(problem)
        return _page(form), problem.status
    flash(f"“{name}” can be played by call flows now.")
    return redirect(url_for("sounds.table"))


@sound_pages.post("/<int:sound_id>/replace")
@needs("admin")
def replace(sound_id: int) -> AnyResponse | tuple[str, int]:
    server = current_server()
    with server.database.reading() as session:
        name = find_sound(session, current_project().id, sound_id).name
    try:
        keep_sound(server, changing, _sent()[0], replaced=sound_id)
    except Problem as problem:
        return _page(SoundForm(), replaced=sound_id, error=problem.detail), problem.status
    flash(f"“{name}” is another file now. Callers hear it from their next call on.")
    return redirect(url_for("sounds.table"))


@sound_pages.post("/<int:sound_id>/remove")
@needs("admin")
def remove(sound_id: int) -> AnyResponse | tuple[str, int]:
    try:
        with changing() as change:
            name = remove_sound(change, sound_id)
    except Problem as problem:
        if problem.status != 409:
            raise
        flash(problem.detail, "bad")
        return redirect(url_for("sounds.table"))
    flash(f"“{name}” is removed.")
    return redirect(url_for("sounds.table"))


@sound_pages.get("/<int:sound_id>/file")
def hear(sound_id: int) -> Response:
    return _file(sound_id)


def _sent() -> tuple[bytes, str]:
    """The file of this form, and its name.

    Raises:
        Problem: 422 when there is none.
    """
    sent = request.files.get("file")
    if sent is None or not sent.filename:
        raise Problem(422, "Choose a file first.", "file")
    with closing(sent):  # a large one lies on the disk until then
        return sent.read(MOST_BYTES + 1), sent.filename


def _page(form: SoundForm, replaced: int | None = None, error: str = "") -> str:
    """`error`: of the file that was sent; `replaced`: in the place of which sound."""
    project = current_project()
    with current_server().database.reading() as session:
        sounds, players = sounds_of(session, project.id), players_of(session, project.id)
    return render_template(
        "voice/sounds.html",
        form=form,
        sounds=sounds,
        players=players,
        replaced=replaced,
        error=error,
        most_mb=MOST_BYTES // 1024**2,
        is_full=len(sounds) >= MOST_SOUNDS,
    )


def _file(sound_id: int) -> Response:
    """
    Raises:
        Problem: 404 when the project has no such sound, 503 when its file cannot be read.
    """
    server = current_server()
    with server.database.reading() as session:
        sound = find_sound(session, current_project().id, sound_id)
    headers = {"Cache-Control": "private, no-cache"}
    try:
        store = store_named(server.settings, sound.store)
        return send_stored(store, sound.file, sound.size, CONTENT_TYPES[sound.kind], sound.file[:16], headers)
    except StoreError as error:
        raise Problem(503, f"{error} Replace the sound, if it stays so.") from None


class SoundDocument(BaseModel):
    """A sound that call flows play: `{"sound": "welcome"}` in the place of a text."""

    id: int
    name: str = Field(examples=["welcome"])
    content_type: str = Field(examples=["audio/mpeg"])
    size: int = Field(description="Bytes")
    seconds: float
    uploaded_at: Instant
    uploaded_by: str


def sound_document(sound: Sound) -> dict[str, Any]:
    told: dict[str, Any] = {name: getattr(sound, name, None) for name in SoundDocument.model_fields}
    return told | {"content_type": CONTENT_TYPES[sound.kind], "uploaded_at": iso(sound.uploaded_at)}


@sounds_api.get("")
@described(answer=SoundDocument, is_list=True)
def list_sounds(project_id: int) -> dict[str, Any]:
    """The sounds of a project."""
    present = select(Sound).where(Sound.project_id == project_id, Sound.retired_at.is_(None))
    with current_server().database.reading() as session:
        return page_of(session, present, Sound.id, request.args, sound_document)


class NewSound(BaseModel):
    """What the address of a new sound says."""

    name: str = Field(description="By which call flows name it", examples=["welcome"])


@sounds_api.post("")
@needs("admin")
@described(query=NewSound, takes=TYPES, answer=SoundDocument, status=201)
def add_sound(project_id: int) -> tuple[dict[str, Any], int]:
    """Upload a sound: the body is the file, a WAV or an MP3 of at most 5 MB."""
    return _kept(parse_name(request.args.get("name", ""))), 201


@sounds_api.put("/<int:sound_id>")
@needs("admin")
@described(takes=TYPES, answer=SoundDocument)
def replace_sound(project_id: int, sound_id: int) -> dict[str, Any]:
    """Upload another file in the place of a sound's."""
    with current_server().database.reading() as session:
        find_sound(session, project_id, sound_id)
    return _kept(replaced=sound_id)


def _kept(name: str = "", replaced: int | None = None) -> dict[str, Any]:
    """The sound whose file the body is."""
    request.max_content_length = MOST_BYTES + 1
    server = current_server()
    sound_id = keep_sound(server, changing, request.get_data(cache=False), name, replaced)
    with server.database.reading() as session:
        return sound_document(find_sound(session, current_project().id, sound_id))


@sounds_api.get("/<int:sound_id>")
@described(file=TYPES, also={206: None, 416: None})
def get_sound(project_id: int, sound_id: int) -> Response:
    """Read the file of a sound, whole or in ranges of bytes."""
    return _file(sound_id)


@sounds_api.delete("/<int:sound_id>")
@needs("admin")
@described(status=204)
def delete_sound(project_id: int, sound_id: int) -> tuple[str, int]:
    """Remove a sound that no call flow plays."""
    with changing() as change:
        remove_sound(change, sound_id)
    return "", 204
