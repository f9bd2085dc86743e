"""Marketing sources: what a page view's evidence says about where the visitor came from. UTM first, then click ids and other signs of an
advertisement, then the referrer."""

import hashlib
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from router.attribution.tracking.parameters import (
    AD_SIGNS,
    CLICK_IDS,
    FREE_SIGNS,
    WITHHELD,
    decode,
    network_of,
    read_parameters,
)
from router.attribution.tracking.referrers import (
    AI_ASSISTANTS,
    APPS,
    SEARCH_ENGINES,
    SOCIAL_NETWORKS,
    advertiser_of,
    is_on_the_way,
    is_one_of,
    owner_of,
    unwanted,
)
from router.web.network import host_of

LONGEST_VALUE = 200
LONGEST_CLICK_ID = 500

PAID_MEDIA = ("cpc", "ppc", "cpv", "cpa", "paid", "paidsearch", "paid_search", "paid-search")
PAID_SOCIAL_MEDIA = ("paid_social", "paid-social", "paidsocial", "social_paid", "social-paid")
SOCIAL_MEDIA = ("social", "social-network", "social_network", "social-media", "social_media", "sm")
CHANNEL_OF_MEDIUM = {
    "organic": "organic_search",
    "ai-assistant": "ai_assistant",
    "email": "email",
    "e-mail": "email",
    "newsletter": "email",
    "referral": "referral",
    "affiliate": "affiliate",
    "display": "display",
    "banner": "display",
    "cpm": "display",
    "expandable": "display",
    "interstitial": "display",
    "sms": "sms",
    "print": "offline",
    "offline": "offline",
    "billboard": "offline",
    "tv": "offline",
    "radio": "offline",
}
NO_MEDIUM = ("", "none", "(none)", "(not set)")
FREE_MEDIA = (*NO_MEDIUM, "organic", "referral")
"""Media that leave it to the source what channel it is."""

REFERRERS = (
    (AI_ASSISTANTS, "ai_assistant", "ai-assistant"),
    (SEARCH_ENGINES, "organic_search", "organic"),
    (SOCIAL_NETWORKS, "social", "social"),
)
"""Each list of hosts with the channel and the medium that a visit from there has."""

OPENSTAT_SERVICES = {"yandex.ru": "yandex", "yandex.com": "yandex"}
"""Whose labels (`direct.yandex.ru;…`) are named like their other advertisements."""

APP_SCHEME = "android-app://"
UTM = ("source", "medium", "campaign", "term", "content")


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
        raw = text.encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), signed=True)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


DIRECT = Source("direct", "direct", "none")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one page view tells: a source, its click ids, and whether there was any evidence (Direct has none)."""

    source: Source
    click_ids: Mapping[str, str]
    found: bool
    begins_visit: bool = True
    """Whether a visit that goes on ends for it: not for a way back (`unwanted`), nor where the address says utm_nooverride."""
    overrides: bool = True
    """Whether it replaces the last known source of the visitor: not where the address says utm_nooverride."""
    known_at: datetime | None = None
    """When a visit before this one told the source; None: this page view tells it."""


def read_evidence(
    page: str, referrer: str, click_ids: Mapping[str, str], own_host: Callable[[str], bool], country: str = ""
) -> Evidence:
    """Classifies a page view.

    Args:
        page: the page's address, with its query and its fragment.
        referrer: document.referrer, or empty.
        click_ids: those that the tag found by itself; the ones in the address count as well.
        own_host: tells of a host whether a referrer from there is no evidence: the site's own, or one that the project names.
        country: the project's, as two letters: it decides how bytes that are no UTF-8 are read.
    """
    query, fragment = read_parameters(page)
    # the fragment tells of a campaign only where the query has no UTM
    campaign = query if any(f"utm_{name}" in query for name in UTM[:3]) else fragment | query
    overrides = campaign.get("utm_nooverride") not in ("1", "true")
    clicks = {name: click_ids.get(name) or decode(campaign.get(name, ""), country) for name in CLICK_IDS}
    clicks = {name: value[:LONGEST_CLICK_ID] for name, value in clicks.items() if value}
    ids = {name: value for name, value in clicks.items() if value != WITHHELD}
    utm = {name: decode(campaign.get(f"utm_{name}", ""), country).strip()[:LONGEST_VALUE] for name in UTM}
    if referrer[: len(APP_SCHEME)].casefold() == APP_SCHEME:  # a known app of Android stands for a host
        host = APPS.get(referrer[len(APP_SCHEME) :].partition("/")[0].casefold(), "")
    else:
        host = host_of(referrer)
    if not host or own_host(host) or unwanted(host) == "never":
        host = ""
    network, medium = network_of(*next(iter(clicks.items())), country) if clicks else ("", "")
    source: Source | None
    if utm["source"] or utm["medium"] or utm["campaign"]:
        names = (utm["source"] or network or "unknown", utm["medium"] or medium)
        source = named_source(*names, utm["campaign"], utm["term"], utm["content"])
    elif clicks:
        # fbclid comes from Instagram and Threads too: there the referrer knows better
        owner = owner_of(host, SOCIAL_NETWORKS) if medium == "social" else None
        source = named_source(owner or network, medium)
    else:
        source = _from_signs(campaign, host, country)
    if source:
        return Evidence(source, ids, True, overrides, overrides)
    if not host:
        return Evidence(DIRECT, {}, False)
    is_news = overrides and unwanted(host) is None and not is_on_the_way(referrer)
    if advertiser := advertiser_of(host):
        return Evidence(named_source(*advertiser), {}, True, is_news, overrides)
    for hosts, channel, medium in REFERRERS:
        if owner := owner_of(host, hosts):
            return Evidence(Source(channel, owner, medium), {}, True, is_news, overrides)
    source = Source("referral", host.removeprefix("www.")[:LONGEST_VALUE], "referral")
    return Evidence(source, {}, True, is_news, overrides)


def named_source(source: str, medium: str, campaign: str = "", term: str = "", content: str = "") -> Source:
    """A source as somebody named it (UTM, click id, a static number's channel), with its channel."""
    return Source(channel_of(source, medium), source, medium, campaign, term, content)


def channel_of(source: str, medium: str) -> str:
    """The channel of a source and medium, as Google Analytics 4 would name it; words are compared whole, so `not-linkedin` is not
    LinkedIn."""
    source, medium = source.casefold().strip(), medium.casefold().strip()
    social = is_one_of(source, SOCIAL_NETWORKS)
    if medium in PAID_SOCIAL_MEDIA or (medium in PAID_MEDIA and social):
        return "paid_social"
    if medium in PAID_MEDIA:
        return "paid_search"
    if medium in SOCIAL_MEDIA:
        return "social"
    if source in ("direct", "(direct)") and medium in NO_MEDIUM:
        return "direct"
    if medium in FREE_MEDIA:
        known = (channel for hosts, channel, _ in REFERRERS if is_one_of(source, hosts))
        return next(known, CHANNEL_OF_MEDIUM.get(medium, "other"))
    return CHANNEL_OF_MEDIUM.get(medium, "other")


def _from_signs(campaign: Mapping[str, str], host: str, country: str) -> Source | None:
    """What networks add to an address beside click ids. Signs that nobody pays for count where the referrer has nothing to say."""
    for name, named in AD_SIGNS.items():
        if name in campaign:
            return named_source(*named)
    if "_openstat" in campaign and (source := _from_openstat(decode(campaign["_openstat"], country))):
        return source
    if host and unwanted(host) is None:
        return None
    return next((named_source(*named) for name, named in FREE_SIGNS.items() if name in campaign), None)


def _from_openstat(label: str) -> Source | None:
    """`service;campaign;advertisement;place`, plain or in base64."""
    if ";" not in label:
        try:
            coded = label.replace(" ", "+").replace("-", "+").replace("_", "/")
            label = b64decode(coded + "=" * (-len(coded) % 4)).decode()
        except ValueError:
            return None
    parts = [part.strip()[:LONGEST_VALUE].replace("\0", "") for part in label.split(";")]
    service, campaign, content, *_ = [*parts, "", ""]
    if ";" not in label or not service:
        return None
    return named_source(owner_of(service.casefold(), OPENSTAT_SERVICES) or service, "cpc", campaign, content=content)
