"""What the server remembers about itself, one row each; first of all under which key its secrets are sealed."""

from datetime import datetime

from sqlalchemy import inspect
from sqlalchemy.orm import Session

from router.accounts.models import ServerFact
from router.crypto import KeyRing
from router.database import dialect_insert
from router.server import Server
from router.settings import SettingsError

KEY_FACT = "key_fingerprint"
ANOTHER_KEY = (
    "ROUTER_SECRET_KEY: is not the key with which this database was used so far (docs/settings.md, “The secret key”)"
)


def remember_fact(session: Session, name: str, value: str, now: datetime) -> None:
    row = dialect_insert(session, ServerFact).values(name=name, value=value, changed_at=now)
    session.execute(row.on_conflict_do_update(index_elements=["name"], set_={"value": value, "changed_at": now}))


def read_fact(session: Session, name: str) -> str | None:
    fact = session.get(ServerFact, name)
    return fact.value if fact else None


def fits_key(session: Session, keys: KeyRing) -> bool | None:
    """Whether the fingerprint that the database holds is that of one of these keys. None: it holds none yet."""
    known = read_fact(session, KEY_FACT)
    return None if known is None else known in keys.fingerprints


def demand_key(server: Server) -> None:
    """For commands, which write no fingerprint: that is done by what seals. A database without tables fits every key.

    Raises:
        SettingsError: the database was used with another key.
    """
    if not inspect(server.database.engine).has_table(ServerFact.__tablename__):
        return
    with server.database.reading() as session:
        if fits_key(session, server.keys) is False:
            raise SettingsError(ANOTHER_KEY)
