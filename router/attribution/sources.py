"""Marketing sources: what a page view's evidence says about where the visitor came from. UTM first, then click ids, then the referrer."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from router.attribution.referrers import AI_ASSISTANTS, APPS, SEARCH_ENGINES, SOCIAL_NETWORKS, is_one_of, owner_of

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

WITHHELD = "-"
"""What a page without consent puts in the place of a click id: it tells the source, and names nobody."""

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


def read_evidence(page: str, referrer: str, click_ids: Mapping[str, str], own_host: Any) -> Evidence:
    """Classifies a page view.

    Args:
        page: the page's address, with its query.
        referrer: document.referrer, or empty.
        click_ids: those that the tag found by itself; the ones in the address count as well.
        own_host: tells of a host whether it is the site's own (a referrer from there is no evidence).
    """
    query = _query(page)
    clicks = {name: click_ids.get(name) or query.get(name, "") for name in CLICK_IDS}
    clicks = {name: value[:LONGEST_CLICK_ID] for name, value in clicks.items() if value}
    ids = {name: value for name, value in clicks.items() if value != WITHHELD}
    utm = {name: query.get(f"utm_{name}", "").strip()[:LONGEST_VALUE] for name in UTM}
    if utm["source"] or utm["medium"] or utm["campaign"]:
        return Evidence(_from_utm(utm, clicks), ids, True)
    host = _host_of_referrer(referrer)
    if clicks:
        return Evidence(_from_click(next(iter(clicks)), host), ids, True)
    if not host or own_host(host):
        return Evidence(DIRECT, {}, False)
    return Evidence(_from_host(host), {}, True)


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


def _from_utm(utm: Mapping[str, str], clicks: Mapping[str, str]) -> Source:
    guessed = CLICK_IDS[next(iter(clicks))] if clicks else ("", "")
    return named_source(
        utm["source"] or guessed[0] or "unknown",
        utm["medium"] or guessed[1],
        utm["campaign"],
        utm["term"],
        utm["content"],
    )


def _from_click(click_id: str, host: str) -> Source:
    """fbclid comes from Instagram and Threads too: there the referrer knows better."""
    source, medium = CLICK_IDS[click_id]
    network = owner_of(host, SOCIAL_NETWORKS) if medium == "social" else None
    return named_source(network or source, medium)


def _from_host(host: str) -> Source:
    for hosts, channel, medium in REFERRERS:
        if owner := owner_of(host, hosts):
            return Source(channel, owner, medium)
    return Source("referral", host.removeprefix("www.")[:LONGEST_VALUE], "referral")


def _host_of_referrer(referrer: str) -> str:
    """The host, or the one that stands for a known app of Android; empty when there is none."""
    if referrer[: len(APP_SCHEME)].casefold() == APP_SCHEME:
        return APPS.get(referrer[len(APP_SCHEME) :].partition("/")[0].casefold(), "")
    return host_of(referrer)


def host_of(address: str) -> str:
    """The host of an http(s) address, case-folded, without its port; empty when there is none."""
    try:
        parts = urlsplit(address)
        return (parts.hostname or "").rstrip(".") if parts.scheme in ("http", "https") else ""
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
