"""Consent (R14): what a page tells of its visit, and what the visit may keep of it. The visit, its number and its source stay in any case.

A limited visit knows no click ids, nothing of analytics, and no identifiers in its addresses. Consent given later fills in what belongs to
the visit's own source; consent withdrawn erases it.

Identifiers of one person in addresses (R14): parameters that name a click, a browser or a subscriber. UTM and campaign ids do not."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from sqlalchemy import update
from sqlalchemy.orm import Session

from router.attribution.clicks import CLICK_IDS
from router.attribution.tracking.own_fields import merged
from router.attribution.tracking.sources import Evidence
from router.attribution.tracking.visits import VISIT, KnownVisit, PageView, locked_visit, record_sign

NAMES = """
    gclsrc dclid srsltid _ga _gl _gac _gcl_aw _gcl_au igshid igsh _fbp _fbc twclid li_fat_id epik rdt_cid
    sccid sc_customer sc_eh sc_uid ymclid ysclid _openstat _ym_uid roistat_visit
    mc_eid mkt_tok _hsenc __hssc __hstc __hsfp hsctatracking _kx __s vero_id vero_conv wickedid _bhlid
    oly_anon_id oly_enc_id ml_subscriber ml_subscriber_hash ss_email_id ck_subscriber_id vgo_ee elqtrackid dm_i
    bsft_clkid bsft_uid oft_c oft_ck oft_d oft_id oft_ids oft_k oft_lk oft_sk
    s_cid s_kwcid ef_id irclickid clickid click_id cjevent rb_clickid unicorn_click_id
    dicbo obclid tblci vmcid guce_referrer guce_referrer_sig _branch_match_id _branch_referrer at_recipient_id at_recipient_list
    bbeml et_rid fb_action_ids fb_comment_id h_sid h_slt mtm_cid pk_cid
"""
"""What Firefox and Brave take out of links to any site (their published lists of query parameters), and others of the same kind."""

IDENTIFIERS = frozenset((*NAMES.split(), *CLICK_IDS))
NAME = re.compile(r"(?:^|[?&;#])([^=?&;#]*)=")
MOST_CODED = 4
"""How often a parameter is decoded in search of an address in it, as in `?next=%2Fa%3Fgclid%3Dx`."""


def without_identifiers(address: str) -> str:
    """The address without the parameters that name one person, and without a fragment; nothing else of it changes."""
    head, question, query = address.partition("#")[0].partition("?")
    kept = [one for one in query.split("&") if not _names_somebody(one)]
    return head + question + "&".join(kept) if kept else head


def _names_somebody(parameter: str) -> bool:
    """It is an identifier, or its value is an address with one."""
    for _ in range(MOST_CODED):
        if any(name.strip().casefold() in IDENTIFIERS for name in NAME.findall(parameter)):
            return True
        parameter = unquote_plus(parameter)
    return False


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
