"""What the server remembers about itself, one row each."""

from datetime import datetime

from sqlalchemy.orm import Session

from router.accounts.models import ServerFact
from router.database import dialect_insert


def remember_fact(session: Session, name: str, value: str, now: datetime) -> None:
    row = dialect_insert(session, ServerFact).values(name=name, value=value, changed_at=now)
    session.execute(row.on_conflict_do_update(index_elements=["name"], set_={"value": value, "changed_at": now}))


def read_fact(session: Session, name: str) -> str | None:
    fact = session.get(ServerFact, name)
    return fact.value if fact else None
