"""Passwords, and guessers slowed down by failed attempts that are counted in the database."""

import hashlib
import secrets
from datetime import datetime, timedelta
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from router.accounts.models import SignInAttempt
from router.web.errors import client_group, is_unknown

LEAST_LENGTH = 10
GREATEST_LENGTH = 200
WINDOW = timedelta(minutes=15)
KEPT = timedelta(days=1)
LIMIT_EMAIL_AT_ADDRESS = 5
LIMIT_ADDRESS = 30
LIMIT_EMAIL = 50
"""Failures of one e-mail from everywhere. Browsers that its owner signed in with before are not held by it."""

_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)  # OWASP's least for argon2id


def hash_password(password: str) -> str:
    return _hasher.hash(password)


def random_password() -> str:
    return secrets.token_urlsafe(12)


def password_matches(password_hash: str | None, password: str) -> bool:
    """Takes as long for a person who does not exist (None) as for one who does."""
    try:
        return _hasher.verify(password_hash or _nobodys_hash(), password) and password_hash is not None
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobodys_hash() -> str:
    return _hasher.hash(secrets.token_urlsafe(16))


def password_problem(password: str, email: str) -> str | None:
    """What is wrong with a new password, as a sentence; None when it can be used."""
    if len(password) < LEAST_LENGTH:
        return f"Choose a password of at least {LEAST_LENGTH} characters."
    if len(password) > GREATEST_LENGTH:
        return f"Choose a password of at most {GREATEST_LENGTH} characters."
    if password.casefold() in (email.casefold(), email.partition("@")[0].casefold()):
        return "Choose a password that is not the e-mail address."
    if len(set(password)) < 4:
        return "Choose a password with more than three different characters."
    return None


def guesser_of(client: str, email: str, known_browser: bool) -> str:
    """Against whom failures are counted: a client's address or network. Clients whom a proxy leaves unknown share one count; a browser that
    this person signed in with before has then a count of its own, which strangers cannot fill."""
    if is_unknown(client) and known_browser:
        return f"known browser {hashlib.sha256(email.encode()).hexdigest()[:32]}"
    return client_group(client)


def admit_attempt(session: Session, email: str, address: str, now: datetime, known_browser: bool) -> bool:
    """Whether a password may be tried now. The attempt counts as failed until `forgive_attempts` says otherwise.

    Who waits is let in again when his failures are older than the window: tries that were refused do not count.
    """
    this_email, this_address = SignInAttempt.email == email, SignInAttempt.address == address
    limits = [(LIMIT_EMAIL_AT_ADDRESS, this_email & this_address), (LIMIT_ADDRESS, this_address)]
    if not known_browser:
        limits.append((LIMIT_EMAIL, this_email))
    recent = select(func.count()).select_from(SignInAttempt).where(SignInAttempt.at > now - WINDOW)
    if any((session.scalar(recent.where(failed)) or 0) >= limit for limit, failed in limits):
        return False
    session.execute(delete(SignInAttempt).where(SignInAttempt.at < now - KEPT))
    session.add(SignInAttempt(email=email, address=address, at=now))
    return True


def forgive_attempts(session: Session, email: str, address: str | None = None) -> None:
    """What failed before with this e-mail is forgotten: from this address after the right password, from everywhere after a new one."""
    failed = delete(SignInAttempt).where(SignInAttempt.email == email)
    session.execute(failed.where(SignInAttempt.address == address) if address else failed)
