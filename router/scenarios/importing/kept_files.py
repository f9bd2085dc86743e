"""Files that a person sent and that wait, sealed, until he has looked at their plan: tables `old_settings_file` and `call_log_file`."""

import base64
import zlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from router.db import dialect_insert
from router.lib.crypto import SealBroken
from router.server import current_server
from router.web.access import current_actor, current_project

LONGEST_NAME = 120
KEPT_FOR = timedelta(days=7)
"""Callers' numbers are in these files: who does not come back sends his file again."""


@dataclass(frozen=True)
class KeptFile:
    name: str
    data: bytes
    choices: dict[str, Any]


def keep_file(session: Session, table: Any, name: str, data: bytes) -> None:
    """In the place of the file that this person sent before; nothing is said about it yet. Files of long ago are thrown away."""
    server = current_server()
    now = server.now()
    session.execute(delete(table).where(table.created_at < now - KEPT_FOR))
    sealed = server.keys.seal(base64.b64encode(zlib.compress(data)).decode())
    changed = {"name": name.replace("\0", "")[-LONGEST_NAME:], "sealed": sealed, "choices": {}, "created_at": now}
    mine = {"project_id": current_project().id, "person_id": current_actor().person_id}
    row = dialect_insert(session, table).values(mine | changed)
    session.execute(row.on_conflict_do_update(index_elements=list(mine), set_=changed))


def find_file(table: Any) -> KeptFile | None:
    """None as well when it cannot be opened any more, because the key changed."""
    server = current_server()
    with server.database.reading() as session:
        kept = session.scalar(select(table).where(*_mine(table)))
    if kept is None:
        return None
    try:
        packed = base64.b64decode(server.keys.unseal(kept.sealed))
    except SealBroken:
        return None
    try:
        return KeptFile(kept.name, zlib.decompress(packed), kept.choices)
    except zlib.error:  # kept by a release that did not pack them
        return KeptFile(kept.name, packed, kept.choices)


def choose(session: Session, table: Any, choices: dict[str, Any]) -> None:
    """Keeps what the sender says about his file."""
    session.execute(update(table).where(*_mine(table)).values(choices=choices))


def forget_file(session: Session, table: Any) -> None:
    session.execute(delete(table).where(*_mine(table)))


def _mine(table: Any) -> tuple[Any, Any]:
    return table.project_id == current_project().id, table.person_id == (current_actor().person_id or 0)
