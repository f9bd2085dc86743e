"""Consent (R14): what a visit may keep of what its pages tell. The visit, its number and its source stay in any case.

A limited visit knows no click ids, nothing of analytics, and no identifiers in its addresses. Consent given later fills in what belongs to
the visit's own source; consent withdrawn erases it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from router.attribution.clicks import without_identifiers
from router.attribution.tracking.schema import MOST_FIELDS, Heartbeat
from router.attribution.tracking.sources import Evidence
from router.attribution.tracking.visits import VISIT, KnownVisit, locked_visit, record_presence


def record_heartbeat(
    session: Session, visit: KnownVisit, heartbeat: Heartbeat, evidence: Evidence | None, now: datetime
) -> None:
    """A heartbeat, or a page view that continues the visit, with what the page told by it. It comes after the numbers, whose rows
    everybody locks before the visit's.

    Args:
        evidence: of the source, where the page tells its address.
    """
    visit = follow_consent(session, visit, heartbeat.limited, evidence)
    visit = keep_params(session, visit, heartbeat.params)
    record_presence(session, visit, now, heartbeat.ga)


def follow_consent(
    session: Session, visit: KnownVisit, limited: bool | None, evidence: Evidence | None = None
) -> KnownVisit:
    """The visit as its page wants it to be from now on; written only when that is news, and only to the visit as it was read.

    Args:
        limited: whether consent is lacking; None: the page says nothing.
    """
    known: dict[str, Any] = {}
    if limited and not visit.limited:
        addresses = {"page": without_identifiers(visit.page), "referrer": without_identifiers(visit.referrer)}
        known = {"limited": True, "click_ids": {}, "ga": {}, **addresses}
    elif limited is False:
        known = {"limited": False}
        # click ids of a page that tells the visit's own source, where none are known: never those of another click
        same_source = evidence is not None and evidence.source.key == visit.source_key
        if evidence is not None and same_source and not visit.click_ids and not visit.keeps_source:
            known["click_ids"] = dict(evidence.click_ids)
    if all(getattr(visit, name) == value for name, value in known.items()):
        return visit
    session.execute(update(VISIT).where(VISIT.c.id == visit.id, VISIT.c.limited == visit.limited).values(known))
    return replace(visit, **known)


def merged(before: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """The later text of a name stands; a visit has no more fields than one page may tell."""
    room = MOST_FIELDS - len(before)
    added = dict(islice(((name, text) for name, text in new.items() if name not in before), max(room, 0)))
    return {**before, **{name: text for name, text in new.items() if name in before}, **added}


def keep_params(session: Session, visit: KnownVisit, params: Mapping[str, str]) -> KnownVisit:
    """The visit with these fields of the site beside those that it has; what other pages of it told meanwhile stays."""
    if merged(visit.params, params) == visit.params:
        return visit
    now = locked_visit(session, visit)
    session.execute(update(VISIT).where(VISIT.c.id == visit.id).values(params=merged(now.params, params)))
    return now
