"""Marketing sources: what a page view's evidence says about where the visitor came from. UTM first, then click ids, then the referrer."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from router.attribution.referrers import SEARCH_ENGINES, SOCIAL_NETWORKS, owner_of

LONGEST_VALUE = 200
LONGEST_CLICK_ID = 500

CLICK_IDS = {
    "gclid": ("google", "cpc"),
    "gbraid": ("google", "cpc"),
    "wbraid": ("google", "cpc"),
    "yclid": ("yandex", "cpc"),
    "msclkid": ("bing", "cpc"),
    "fbclid": ("facebook", "social"),
    "ttclid": ("tiktok", "paid_social"),
}
"""Each known click id with the source and medium that it stands for; fbclid is put on unpaid links too."""

PAID_MEDIA = ("cpc", "ppc", "cpm", "cpv", "cpa", "paid", "paidsearch", "paid_search", "paid-search")
PAID_SOCIAL_MEDIA = ("paid_social", "paid-social", "paidsocial", "social_paid", "social-paid")
SOCIAL_MEDIA = ("social", "social-network", "social_network", "social-media", "social_media", "sm")
CHANNEL_OF_MEDIUM = {
    "organic": "organic_search",
    "email": "email",
    "e-mail": "email",
    "newsletter": "email",
    "referral": "referral",
    "affiliate": "affiliate",
    "display": "display",
    "banner": "display",
    "sms": "sms",
    "print": "offline",
    "offline": "offline",
    "billboard": "offline",
    "tv": "offline",
    "radio": "offline",
}


@dataclass(frozen=True, slots=True)
class Source:
    """A marketing source with its details. Two are the same if source, medium and campaign are, case-folded."""

    channel: str
    source: str
    medium: str
    campaign: str = ""
    term: str = ""
    content: str = ""

    @property
    def key(self) -> int:
        """A signed 64-bit number, equal for equal sources."""
        text = "\x1f".join(part.casefold().strip() for part in (self.source, self.medium, self.campaign))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), signed=True)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


DIRECT = Source("direct", "direct", "none")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one page view tells: a source, its click ids, and whether there was any evidence (Direct has none)."""

    source: Source
    click_ids: Mapping[str, str]
    found: bool


def read_evidence(page: str, referrer: str, click_ids: Mapping[str, str], own_host: Any) -> Evidence:
    """Classifies a page view.

    Args:
        page: the page's address, with its query.
        referrer: document.referrer, or empty.
        click_ids: those that the tag found by itself; the ones in the address count as well.
        own_host: tells of a host whether it is the site's own (a referrer from there is no evidence).
    """
    query = _query(page)
    ids = {name: click_ids.get(name) or query.get(name, "") for name in CLICK_IDS}
    ids = {name: value[:LONGEST_CLICK_ID] for name, value in ids.items() if value}
    utm = {
        name: query.get(f"utm_{name}", "")[:LONGEST_VALUE]
        for name in ("source", "medium", "campaign", "term", "content")
    }
    if utm["source"] or utm["medium"] or utm["campaign"]:
        return Evidence(_from_utm(utm, ids), ids, True)
    if ids:
        source, medium = CLICK_IDS[next(iter(ids))]
        return Evidence(named_source(source, medium), ids, True)
    return _from_referrer(referrer, own_host)


def named_source(source: str, medium: str, campaign: str = "", term: str = "", content: str = "") -> Source:
    """A source as somebody named it (UTM, click id, a static number's channel), with its channel."""
    return Source(channel_of(source, medium), source, medium, campaign, term, content)


def channel_of(source: str, medium: str) -> str:
    """The channel of a source and medium; words are compared whole, so `not-linkedin` is not LinkedIn."""
    source, medium = source.casefold().strip(), medium.casefold().strip()
    social = owner_of(source, SOCIAL_NETWORKS) is not None or source in SOCIAL_NETWORKS.values()
    if medium in PAID_SOCIAL_MEDIA or (medium in PAID_MEDIA and social):
        return "paid_social"
    if medium in PAID_MEDIA:
        return "paid_search"
    if medium in SOCIAL_MEDIA or (social and medium in ("", "referral")):
        return "social"
    if source == "direct" and medium in ("", "none", "(none)"):
        return "direct"
    return CHANNEL_OF_MEDIUM.get(medium, "other")


def _from_utm(utm: Mapping[str, str], ids: Mapping[str, str]) -> Source:
    guessed = CLICK_IDS[next(iter(ids))] if ids else ("", "")
    return named_source(
        utm["source"] or guessed[0] or "unknown",
        utm["medium"] or guessed[1],
        utm["campaign"],
        utm["term"],
        utm["content"],
    )


def _from_referrer(referrer: str, own_host: Any) -> Evidence:
    host = host_of(referrer)
    if not host or own_host(host):
        return Evidence(DIRECT, {}, False)
    if engine := owner_of(host, SEARCH_ENGINES):
        return Evidence(Source("organic_search", engine, "organic"), {}, True)
    if network := owner_of(host, SOCIAL_NETWORKS):
        return Evidence(Source("social", network, "social"), {}, True)
    return Evidence(Source("referral", host.removeprefix("www.")[:LONGEST_VALUE], "referral"), {}, True)


def host_of(address: str) -> str:
    """The host of an http(s) address, case-folded, without its port; empty when there is none."""
    try:
        parts = urlsplit(address)
        return (parts.hostname or "") if parts.scheme in ("http", "https") else ""
    except ValueError:
        return ""


def _query(page: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(urlsplit(page).query, max_num_fields=200)
    except ValueError:
        return {}
    values: dict[str, str] = {}
    for name, value in pairs:
        values.setdefault(name.casefold(), value.replace("\0", ""))
    return values
