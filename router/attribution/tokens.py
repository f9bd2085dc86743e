"""Values that we issue to browsers: visitor ids and visit tokens. Both are signed, so that a foreign one is known without a look-up."""

import base64
import binascii
import secrets

from router.crypto import KeyRing

VISITOR_BYTES, MAC_BYTES = 12, 9


def new_visitor(keys: KeyRing, project_id: int) -> str:
    """A fresh visitor id of this project: 28 characters."""
    return _visitor(keys, project_id, secrets.token_bytes(VISITOR_BYTES))


def visitor_for(keys: KeyRing, project_id: int, known_as: str) -> str:
    """The visitor id of a browser that somebody else knows by a name of his; the same for the same name, and nobody can tell it from it."""
    return _visitor(keys, project_id, keys.sign(f"known visitor {project_id}", known_as.encode(), VISITOR_BYTES))


def _visitor(keys: KeyRing, project_id: int, body: bytes) -> str:
    return _text(body + keys.sign(f"visitor {project_id}", body, MAC_BYTES))


def is_our_visitor(keys: KeyRing, project_id: int, visitor: str) -> bool:
    raw = _bytes(visitor, VISITOR_BYTES + MAC_BYTES)
    return raw is not None and keys.verify(f"visitor {project_id}", raw[:VISITOR_BYTES], raw[VISITOR_BYTES:])


def visit_token(keys: KeyRing, project_id: int, visit_id: int) -> str:
    """The name under which a page speaks of its visit; the same for the same visit."""
    body = visit_id.to_bytes(6)
    return _text(body + keys.sign(f"visit {project_id}", body, MAC_BYTES))


def read_visit_token(keys: KeyRing, project_id: int, token: str) -> int | None:
    """The visit's id, or None when the token is not one of this project's."""
    raw = _bytes(token, 6 + MAC_BYTES)
    if raw is None or not keys.verify(f"visit {project_id}", raw[:6], raw[6:]):
        return None
    return int.from_bytes(raw[:6])


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str, size: int) -> bytes | None:
    if len(text) > 64 or not text.isascii():
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == size and _text(raw) == text else None
