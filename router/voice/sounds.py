"""Files of the sounds that flows play: uploaded, replaced, removed, and sent to the carrier, which fetches them by an address that nobody
can guess and keeps them.

A file that is played has a name of its own: what is replaced gets another address. The row of a file is written before the file, and
outlives it, so that a file without a row is never left behind."""

import os
import re
import secrets
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

import structlog
from flask import Response, request
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from router.accounts.audit import Change
from router.accounts.ledger import lock_balance
from router.accounts.models import Project, raise_list_version
from router.config import Settings
from router.lib.audio import CONTENT_TYPES, SILENCE, Audio, UnreadableAudio, read_audio
from router.lib.crypto import KeyRing
from router.lib.file_store import (
    FOLDER,
    FileStore,
    StoreError,
    check_room,
    incoming,
    private_folder,
    store_named,
    store_of,
)
from router.lib.formats import format_count
from router.scenarios.fields import sentence_of
from router.scenarios.flow_steps import LONGEST_SOUND_NAME, SoundName
from router.scenarios.models import Sound
from router.scenarios.sounds import players_of, sounds_of
from router.server import Server
from router.voice.models import JournalPosition
from router.web.errors import Problem
from router.web.stored_files import send_stored

log = structlog.get_logger(__name__)

MOST_BYTES = 5 * 1024 * 1024
"""Five minutes, also in the telephone's own quality. The carrier fetches a file whole before anything of it is heard: the first caller
waits for a larger one."""
MOST_SOUNDS = 100
"""Of a project."""
KEPT = timedelta(days=2)
"""A file that is not played by new calls: calls go on by the flow that they began with for a day, and last for hours."""
RUNNING = timedelta(hours=1)
"""A machine that was heard of in this time may be asked for a sound."""
SOUND = "sound"
"""What the keys sign for addresses."""
ADDRESS = re.compile(r"([0-9a-f]{40})-([0-9a-f]{24})\.(wav|mp3)")

Begin = Callable[[], AbstractContextManager[Change]]
"""Begins a change of the project, in a transaction of its own."""


def parse_name(text: str) -> str:
    """
    Raises:
        Problem: 422, no sound can be named so.
    """
    try:
        return str(_NAME.validate_python(" ".join(text.split())))
    except ValidationError as refusal:
        raise Problem(422, sentence_of(refusal.errors()[0]), "name") from None


_NAME: TypeAdapter[str] = TypeAdapter(SoundName)


def name_of_file(file_name: str) -> str:
    """What a sound is named whose file has this name, when nobody says another one; empty: nothing of it can be a name."""
    stem = unicodedata.normalize("NFC", re.split(r"[/\\]", file_name)[-1].rpartition(".")[0] or file_name)
    return " ".join(re.sub(r"[^\w -]+", " ", stem).strip(" -").split())[:LONGEST_SOUND_NAME].strip()


def keep_sound(server: Server, begin: Begin, data: bytes, name: str = "", replaced: int | None = None) -> int:
    """Keeps a file as a new sound of this name, or in the place of one that is there. Returns the sound's id.

    Raises:
        Problem: 404 when there is none to be replaced; 409 when there is one of this name, when there are too many, or where other machines
            would not reach it; 413, 422 when it is no sound that can be played; 503 when it cannot be kept.
    """
    if len(data) > MOST_BYTES:
        raise Problem(413, f"The file is larger than {MOST_BYTES // 1024**2} MB: save it as an MP3.", "file")
    try:
        audio = read_audio(data)
    except UnreadableAudio as error:
        raise Problem(422, str(error), "file") from None
    with begin() as change:
        row_id, file = _expect(change, name, audio, len(data), replaced)
    try:
        store = store_of(server.settings)
        _put(server.settings, store, file, data)
    except (StoreError, OSError) as error:
        raise Problem(503, f"The sound cannot be kept at the moment. {error}") from None
    with begin() as change:
        return _publish(change, row_id, store.name, replaced)


def _expect(change: Change, name: str, audio: Audio, size: int, replaced: int | None) -> tuple[int, str]:
    """The row of a file that is about to come, which stands for nothing yet."""
    session, project_id = change.session, change.project.id
    running = select(JournalPosition.host).where(
        ~JournalPosition.is_stopped, JournalPosition.seen_at > change.now - RUNNING
    )
    if not change.server.settings.s3_bucket and len(set(session.scalars(running))) > 1:
        raise Problem(409, "This server runs on several machines, and has no place for files that all of them reach.")
    before = _replaced(session, project_id, name, replaced)
    if before is None and len(sounds_of(session, project_id)) >= MOST_SOUNDS:
        raise Problem(409, f"A project has {MOST_SOUNDS} sounds at most: remove one that nobody plays.")
    row = Sound(
        project_id=project_id,
        name=before.name if before else name,
        file=secrets.token_hex(20),
        store="",
        kind=audio.kind,
        size=size,
        seconds=audio.seconds,
        uploaded_at=change.now,
        uploaded_by=change.actor.name,
        retired_at=change.now,
    )
    session.add(row)
    session.flush()
    return row.id, row.file


def _replaced(session: Session, project_id: int, name: str, sound_id: int | None) -> Sound | None:
    """The sound that is to be replaced; None: a new one is to come. The project's list does not change until the end of the transaction.

    Raises:
        Problem: 404 when it is not there; 409 when there is one of the new name.
    """
    lock_balance(session, project_id)
    if sound_id is not None:
        return find_sound(session, project_id, sound_id)
    alike = (sound.name for sound in sounds_of(session, project_id) if sound.name.casefold() == name.casefold())
    if present := next(alike, ""):
        raise Problem(409, f"There is a sound “{present}” already: replace it, or choose another name.", "name")
    return None


def _put(settings: Settings, store: FileStore, file: str, data: bytes) -> None:
    """
    Raises:
        StoreError, OSError: it is not there.
    """
    part = incoming(settings) / f"{file}.{secrets.token_hex(4)}"
    private_folder(part.parent)
    check_room(part.parent)
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        if (kept := store.put(file, part)) != len(data):
            raise StoreError(f"Of {len(data)} bytes {kept} were kept.")
    finally:
        part.unlink(missing_ok=True)


FILE_COLUMNS = ("file", "store", "kind", "size", "seconds", "uploaded_at", "uploaded_by")


def _publish(change: Change, row_id: int, store: str, replaced: int | None) -> int:
    """The file that has come is played from now on; the one before has its row until nobody plays it any more."""
    session, project_id = change.session, change.project.id
    new = session.get_one(Sound, row_id)
    new.store = store
    before = _replaced(session, project_id, new.name, replaced)
    if before is None:
        new.retired_at = None
    else:
        new.retired_at = change.now
        for column in FILE_COLUMNS:
            was, comes = getattr(before, column), getattr(new, column)
            setattr(before, column, comes)
            setattr(new, column, was)
    session.flush()
    raise_list_version(session, project_id)
    change.record("sound.added" if before is None else "sound.replaced", new.name)
    return before.id if before else new.id


def find_sound(session: Session, project_id: int, sound_id: int) -> Sound:
    """
    Raises:
        Problem: 404 when the project has no such sound.
    """
    sound = session.get(Sound, sound_id)
    if sound is None or sound.project_id != project_id or sound.retired_at is not None:
        raise Problem(404, "There is no such sound.")
    return sound


def remove_sound(change: Change, sound_id: int) -> str:
    """Returns the name that it had.

    Raises:
        Problem: 404 when there is none; 409 as long as a flow plays it.
    """
    session, project_id = change.session, change.project.id
    lock_balance(session, project_id)  # whoever stores a flow holds it too
    sound = find_sound(session, project_id, sound_id)
    if players := players_of(session, project_id).get(sound.name):
        more = f" and {format_count(len(players) - 1, 'other')}" if len(players) > 1 else ""
        raise Problem(409, f"“{sound.name}” is played by {players[0]}{more}. Choose another sound there first.")
    sound.retired_at = change.now
    session.flush()
    raise_list_version(session, project_id)
    change.record("sound.removed", sound.name)
    return sound.name


def delete_retired_sounds(server: Server, now: datetime) -> int:
    """Deletes the files that nobody plays any more, and those of projects that are not there any more; returns how many. What cannot be
    deleted is tried again at the next turn."""
    projects = select(Project.id)
    unplayed = or_(Sound.retired_at <= now - KEPT, Sound.project_id.not_in(projects))
    with server.database.reading() as session:
        retired = session.scalars(select(Sound).where(unplayed).order_by(Sound.id)).all()
    deleted = 0
    for sound in retired:
        try:
            store = store_named(server.settings, sound.store) if sound.store else store_of(server.settings)
            store.remove(sound.file)
        except StoreError as error:
            log.warning("sound_not_deleted", id=sound.id, reason=str(error))
            continue
        with server.database.writing() as session:
            session.execute(delete(Sound).where(Sound.id == sound.id))
            raise_list_version(session, sound.project_id)
        deleted += 1
    return deleted


def lost_sounds(server: Server, session: Session) -> list[Sound]:
    """Those that flows may play and whose file is not where it was put: callers hear silence instead."""
    return [
        sound
        for sound in session.scalars(select(Sound).where(Sound.retired_at.is_(None)).order_by(Sound.id))
        if _where(server.settings, sound.file) is None
    ]


class SoundAddresses(Mapping[str, str]):
    """Where the carrier fetches the sounds of a project, by name; each is signed when it is asked for.

    Args:
        files: by name, `….mp3`.
    """

    def __init__(self, base_url: str, keys: KeyRing, files: Mapping[str, str]) -> None:
        self._base_url, self._keys, self._files = base_url, keys, files

    def __getitem__(self, name: str) -> str:
        file, _, kind = self._files[name].partition(".")
        mac = self._keys.sign(SOUND, f"{file}.{kind}".encode()).hex()
        return f"{self._base_url}/sounds/{file}-{mac}.{kind}"

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def send_sound(server: Server, address: str) -> Response:
    """What the carrier fetches. Nothing is asked of the database, and whatever fails, the caller goes on: after a moment of silence, which
    nobody keeps. The content of an address never changes.

    Raises:
        Problem: 404 when no address of ours looks like this.
    """
    parts = ADDRESS.fullmatch(address)
    if parts is None:
        raise Problem(404, "There is no such sound.")
    file, mac, kind = parts.groups()
    if server.keys.verify(SOUND, f"{file}.{kind}".encode(), bytes.fromhex(mac)):
        kept = {"Cache-Control": "public, max-age=31536000, immutable"}
        if request.if_none_match.contains(file):
            return Response(status=304, headers=kept | {"ETag": f'"{file}"'})
        try:
            if (found := _where(server.settings, file)) is not None:
                store, size = found
                return send_stored(store, file, size, CONTENT_TYPES[kind], file, kept)
        except StoreError as error:
            log.error("sound_not_read", file=file, reason=str(error))
        log.error("sound_lost", file=file)
    return Response(SILENCE, headers={"Cache-Control": "no-store"}, mimetype="audio/wav")


def _where(settings: Settings, file: str) -> tuple[FileStore, int] | None:
    """The store that has a file, whichever was chosen when it was uploaded, and its size in bytes."""
    for store in [store_named(settings, FOLDER), *([store_of(settings)] if settings.s3_bucket else [])]:
        try:
            return store, store.size(file)
        except StoreError as error:
            log.debug("sound_not_there", store=store.name, reason=str(error))
    return None
