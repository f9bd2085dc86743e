"""Tables of carriers: the accounts that projects have of their own."""

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from router.db import Base, BigId


class CarrierAccount(Base):
    """The account of a project at the carrier; a project without one uses the server's."""

    __tablename__ = "carrier_account"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"), unique=True)
    sid: Mapped[str] = mapped_column(String(64))
    sealed: Mapped[str] = mapped_column(Text)
    """JSON under the server's key: a list of one auth token, or of two while it is changed; the present one first."""
    state: Mapped[str] = mapped_column(String(10))
    """What the carrier says of it: `unchecked`, `accepted` or `refused`."""
    reason: Mapped[str] = mapped_column(String(300), default="")
    changed_at: Mapped[datetime]
    checked_at: Mapped[datetime | None]
    """When the carrier last answered."""
    next_at: Mapped[datetime]
    """When the carrier is asked again; until then somebody may be asking."""
