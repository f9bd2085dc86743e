"""API tokens: random, shown once, stored as a digest, revocable."""

import hashlib
import secrets
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.models import ApiToken

PREFIX = "rt_"


def create_token(
    session: Session, name: str, now: datetime, project_id: int | None = None, role: str = "owner"
) -> tuple[ApiToken, str]:
    """A new token and its text, which is shown this once. Without a project it is an operator's."""
    text = PREFIX + secrets.token_urlsafe(32)
    token = ApiToken(
        name=name[:120],
        project_id=project_id,
        role=role if project_id else "operator",
        digest=digest_of(text),
        hint=text[-4:],
        created_at=now,
    )
    session.add(token)
    session.flush()
    return token, text


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def find_token(session: Session, header: str) -> ApiToken | None:
    """The token in an Authorization header; None when it holds none that counts."""
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        return None
    digest = digest_of(text.strip())
    return session.scalar(select(ApiToken).where(ApiToken.digest == digest, ApiToken.revoked_at.is_(None)))
