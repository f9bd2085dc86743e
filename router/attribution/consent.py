"""Consent (R14): what a page tells of its visit, and what the visit may keep of it. The visit, its number and its source stay in any case.

A limited visit knows no click ids, nothing of analytics, and no identifiers in its addresses. Consent given later fills in what belongs to
the visit's own source; consent withdrawn erases it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from router.attribution.identifiers import without_identifiers
from router.attribution.own_fields import merged
from router.attribution.signs import record_sign
from router.attribution.sources import Evidence
from router.attribution.visits import VISIT, KnownVisit, PageView, locked_visit


@dataclass(frozen=True, slots=True)
class Told:
    """What a page tells of its visit beside that it is open."""

    ga: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    limited: bool | None = None
    """Whether consent is lacking; None: nothing is said, it stays as it is."""
    evidence: Evidence | None = None


NOTHING = Told()


def told_by(view: PageView) -> Told:
    return Told(view.ga, view.params, view.limited, view.evidence)


def record_told(session: Session, visit: KnownVisit, told: Told, now: datetime) -> None:
    """A sign of life with what the page told by it. It comes after the numbers, whose rows everybody locks before the visit's."""
    visit = follow_consent(session, visit, told)
    visit = keep_params(session, visit, told.params)
    record_sign(session, visit, now, told.ga)


def follow_consent(session: Session, visit: KnownVisit, told: Told) -> KnownVisit:
    """The visit as its page wants it to be from now on; written only when that is news, and only to the visit as it was read."""
    if told.limited is None:
        return visit
    known = _forgotten(visit) if told.limited else {"limited": False, "click_ids": _click_ids(visit, told.evidence)}
    if all(getattr(visit, name) == value for name, value in known.items()):
        return visit
    session.execute(update(VISIT).where(VISIT.c.id == visit.id, VISIT.c.limited == visit.limited).values(known))
    return replace(visit, **known)


def _forgotten(visit: KnownVisit) -> dict[str, Any]:
    if visit.limited:
        return {}
    addresses = {"page": without_identifiers(visit.page), "referrer": without_identifiers(visit.referrer)}
    return {"limited": True, "click_ids": {}, "ga": {}, **addresses}


def _click_ids(visit: KnownVisit, evidence: Evidence | None) -> Mapping[str, str]:
    """Those of a page that tells the visit's own source, where none are known: never those of another click."""
    if evidence is None or visit.click_ids or visit.keeps_source or evidence.source.key != visit.source_key:
        return visit.click_ids
    return dict(evidence.click_ids)


def keep_params(session: Session, visit: KnownVisit, params: Mapping[str, str]) -> KnownVisit:
    """The visit with these fields of the site beside those that it has; what other pages of it told meanwhile stays."""
    if merged(visit.params, params) == visit.params:
        return visit
    now = locked_visit(session, visit)
    session.execute(update(VISIT).where(VISIT.c.id == visit.id).values(params=merged(now.params, params)))
    return now
