"""Who stands behind a referrer: search engines, social networks, AI assistants and advertising networks, by host. A sub-domain belongs to
its host, unless a longer name says otherwise; names are never compared in parts. This list is ours, since the packages for it are no
longer kept.

And referrers that are no marketing: hosts from which people come back in the middle of a visit, since they paid, signed in, proved to their
bank who they are, or confirmed their address in a letter. The hosts stand in unwanted_referrals.txt; what such hosts are usually called,
and what their paths say, is known here."""

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

from router.web.network import registrable_domain

Owners = Mapping[str, str]
"""Host to name; an empty name: what lies below another host here, but is none of its kind (a webmail of a search engine's)."""

SEARCH_ENGINES: Owners = {
    "360.cn": "360.cn",
    "aol.com": "aol",
    "ask.com": "ask",
    "baidu.com": "baidu",
    "bing.com": "bing",
    "coccoc.com": "coccoc",
    "daum.net": "daum",
    "mail.daum.net": "",
    "dogpile.com": "dogpile",
    "duckduckgo.com": "duckduckgo",
    "ecosia.org": "ecosia",
    "excite.co.jp": "excite",
    "ghostery.com": "ghostery",
    "go.mail.ru": "mail.ru",
    "goo.ne.jp": "goo",
    "kagi.com": "kagi",
    "mail.aol.com": "",
    "metager.de": "metager",
    "metager.org": "metager",
    "mojeek.com": "mojeek",
    "naver.com": "naver",
    "blog.naver.com": "",
    "cafe.naver.com": "",
    "mail.naver.com": "",
    "nova.rambler.ru": "rambler",
    "petalsearch.com": "petal",
    "presearch.com": "presearch",
    "qwant.com": "qwant",
    "search.brave.com": "brave",
    "search.lycos.com": "lycos",
    "search.seznam.cz": "seznam",
    "search.t-online.de": "t-online",
    "suche.t-online.de": "t-online",
    "search.yahoo.com": "yahoo",
    "sm.cn": "shenma",
    "so.com": "360.cn",
    "sogou.com": "sogou",
    "startpage.com": "startpage",
    "suche.gmx.net": "gmx",
    "suche.web.de": "web.de",
    "swisscows.com": "swisscows",
    "szukaj.onet.pl": "onet",
    "tieba.baidu.com": "",
    "yiyan.baidu.com": "",
    "yahoo.co.jp": "yahoo",
    "mail.yahoo.co.jp": "",
    "yep.com": "yep",
    "ya.ru": "yandex",
}

NATIONAL_ENGINES = {
    "google": ("", "www", "m", "images", "cse", "search", "encrypted", "ipv4", "ipv6", "lens"),
    "yandex": ("", "www", "m", "images", "search", "touch"),
}
"""Engines at home in many countries, and the sub-domains where they search: mail.google.com and market.yandex.ru do not."""

NATIONAL_ADVERTISERS = {"google": ("adservice",), "yandex": ("yabs", "an", "bs", "awaps")}
"""The same of their advertisements."""

ADVERTISERS: Mapping[str, tuple[str, str]] = {
    "googleadservices.com": ("google", "cpc"),
    "doubleclick.net": ("google", "cpc"),
    "doubleclick.com": ("google", "cpc"),
    "googlesyndication.com": ("google", "cpc"),
    "googletagservices.com": ("google", "cpc"),
    "2mdn.net": ("google", "cpc"),
    "adsensecustomsearchads.com": ("google", "cpc"),
    "syndicatedsearch.goog": ("google", "cpc"),
    "yandexadexchange.net": ("yandex", "cpc"),
    "yabs.yandex.net": ("yandex", "cpc"),
    "r.msn.com": ("bing", "cpc"),
    "bat.bing.com": ("bing", "cpc"),
    "cpro.baidu.com": ("baidu", "cpc"),
    "pos.baidu.com": ("baidu", "cpc"),
    "ad.search.naver.com": ("naver", "cpc"),
    "ader.naver.com": ("naver", "cpc"),
    "adcr.naver.com": ("naver", "cpc"),
    "rd.listing.yahoo.co.jp": ("yahoo", "cpc"),
    "c.imedia.cz": ("seznam", "cpc"),
    "sklik.cz": ("seznam", "cpc"),
    "ad.mail.ru": ("vk", "cpc"),
    "rs.mail.ru": ("vk", "cpc"),
    "an.facebook.com": ("facebook", "cpc"),
    "taboola.com": ("taboola", "display"),
    "outbrain.com": ("outbrain", "display"),
    "criteo.com": ("criteo", "display"),
    "criteo.net": ("criteo", "display"),
    "amazon-adsystem.com": ("amazon", "display"),
    "adnxs.com": ("xandr", "display"),
    "mgid.com": ("mgid", "display"),
    "revcontent.com": ("revcontent", "display"),
}
"""Hosts that only advertisements lead through, with the source and medium of what comes from there."""

SECOND_LEVELS = ("co", "com")

SOCIAL_NETWORKS: Owners = {
    "bsky.app": "bluesky",
    "dcard.tw": "dcard",
    "discord.com": "discord",
    "douyin.com": "douyin",
    "facebook.com": "facebook",
    "fb.com": "facebook",
    "fb.me": "facebook",
    "flickr.com": "flickr",
    "instagram.com": "instagram",
    "kakao.com": "kakao",
    "line.me": "line",
    "linkedin.com": "linkedin",
    "lnkd.in": "linkedin",
    "m.me": "facebook",
    "mastodon.online": "mastodon",
    "mastodon.social": "mastodon",
    "max.ru": "max",
    "medium.com": "medium",
    "messenger.com": "facebook",
    "mixi.jp": "mixi",
    "nextdoor.com": "nextdoor",
    "nextdoor.de": "nextdoor",
    "ok.ru": "ok",
    "pin.it": "pinterest",
    "pinterest.at": "pinterest",
    "pinterest.ca": "pinterest",
    "pinterest.ch": "pinterest",
    "pinterest.co.kr": "pinterest",
    "pinterest.co.uk": "pinterest",
    "pinterest.com": "pinterest",
    "pinterest.com.au": "pinterest",
    "pinterest.com.mx": "pinterest",
    "pinterest.de": "pinterest",
    "pinterest.es": "pinterest",
    "pinterest.fr": "pinterest",
    "pinterest.it": "pinterest",
    "pinterest.jp": "pinterest",
    "quora.com": "quora",
    "redd.it": "reddit",
    "reddit.com": "reddit",
    "rutube.ru": "rutube",
    "snapchat.com": "snapchat",
    "t.co": "x",
    "t.me": "telegram",
    "telegram.me": "telegram",
    "telegram.org": "telegram",
    "threads.com": "threads",
    "threads.net": "threads",
    "tieba.baidu.com": "tieba",
    "tiktok.com": "tiktok",
    "tumblr.com": "tumblr",
    "twitch.tv": "twitch",
    "twitter.com": "x",
    "viber.com": "viber",
    "vimeo.com": "vimeo",
    "vk.com": "vk",
    "vk.me": "vk",
    "vk.ru": "vk",
    "vkontakte.ru": "vk",
    "wa.me": "whatsapp",
    "weibo.cn": "weibo",
    "weibo.com": "weibo",
    "weixin.qq.com": "wechat",
    "whatsapp.com": "whatsapp",
    "x.com": "x",
    "xiaohongshu.com": "xiaohongshu",
    "xing.com": "xing",
    "youtu.be": "youtube",
    "youtube-nocookie.com": "youtube",
    "youtube.com": "youtube",
    "zalo.me": "zalo",
    "zhihu.com": "zhihu",
    "dzen.ru": "dzen",
    "zen.yandex.ru": "dzen",
}

AI_ASSISTANTS: Owners = {
    "alice.yandex.ru": "alice",
    "bard.google.com": "gemini",
    "chat.deepseek.com": "deepseek",
    "chat.mistral.ai": "mistral",
    "chat.openai.com": "chatgpt",
    "chat.qwen.ai": "qwen",
    "chatgpt.com": "chatgpt",
    "claude.ai": "claude",
    "copilot.com": "copilot",
    "copilot.microsoft.com": "copilot",
    "deepseek.com": "deepseek",
    "doubao.com": "doubao",
    "duck.ai": "duck.ai",
    "gemini.google.com": "gemini",
    "giga.chat": "gigachat",
    "grok.com": "grok",
    "kimi.com": "kimi",
    "meta.ai": "meta.ai",
    "notebooklm.google.com": "notebooklm",
    "perplexity.ai": "perplexity",
    "phind.com": "phind",
    "poe.com": "poe",
    "yiyan.baidu.com": "ernie",
    "you.com": "you.com",
}

APPS: Owners = {
    "com.facebook.katana": "facebook.com",
    "com.facebook.orca": "messenger.com",
    "com.google.android.googlequicksearchbox": "google.com",
    "com.google.android.youtube": "youtube.com",
    "com.instagram.android": "instagram.com",
    "com.linkedin.android": "linkedin.com",
    "com.openai.chatgpt": "chatgpt.com",
    "com.pinterest": "pinterest.com",
    "com.reddit.frontpage": "reddit.com",
    "com.twitter.android": "x.com",
    "com.vkontakte.android": "vk.com",
    "org.telegram.messenger": "t.me",
    "org.telegram.messenger.web": "t.me",
    "ru.ok.android": "ok.ru",
    "ru.yandex.searchplugin": "yandex.ru",
}
"""Android's apps name themselves as referrers (`android-app://com.linkedin.android/`): each with the host that it stands for."""

SHORT_NAMES: Owners = {
    "fb": "facebook",
    "ig": "instagram",
    "insta": "instagram",
    "meta": "facebook",
    "odnoklassniki": "ok",
    "tg": "telegram",
    "twitter": "x",
    "vkontakte": "vk",
    "yt": "youtube",
}
"""What people and advertising systems write as utm_source for a social network."""


def owner_of(host: str, hosts: Owners) -> str | None:
    """The name of the engine, network or assistant that a host, or a host above it, belongs to; the longest known name decides."""
    if hosts is SEARCH_ENGINES and (engine := _national(host, NATIONAL_ENGINES)):
        return engine
    labels = host.split(".")
    for start in range(len(labels) - 1):
        if (name := hosts.get(".".join(labels[start:]))) is not None:
            return name or None
    return None


def advertiser_of(host: str) -> tuple[str, str] | None:
    """Source and medium of an advertising network's host, or of one below it; None for every other one."""
    if engine := _national(host, NATIONAL_ADVERTISERS):
        return engine, "cpc"
    labels = host.split(".")
    names = (".".join(labels[start:]) for start in range(len(labels) - 1))
    return next((ADVERTISERS[name] for name in names if name in ADVERTISERS), None)


def is_one_of(source: str, hosts: Owners) -> bool:
    """Whether a source as somebody named it, case-folded, is one of these: by name (`linkedin`) or by host (`linkedin.com`)."""
    if hosts is SOCIAL_NETWORKS and source in SHORT_NAMES:
        return True
    if hosts is SEARCH_ENGINES and source in NATIONAL_ENGINES:
        return True
    return bool(source) and (source in hosts.values() or owner_of(source, hosts) is not None)


def _national(host: str, names: Mapping[str, tuple[str, ...]]) -> str | None:
    """google.com, www.google.de, google.co.uk, google.com.br; but google.example.com is nobody's."""
    for name, sub_domains in names.items():
        below, dot, end = f".{host}".partition(f".{name}.")
        if not dot or below.removeprefix(".") not in sub_domains:
            continue
        second, _, country = end.rpartition(".")
        if (len(country) == 2 and (not second or second in SECOND_LEVELS)) or end in ("com", "cat"):
            return name
    return None


Kind = Literal["never", "within a visit"]
"""`never`: no source at all, as if the visitor had come from the site itself. `within a visit`: a source when a visit begins, and no news
while one goes on."""

FILE = Path(__file__).with_name("unwanted_referrals.txt")

CHALLENGES = re.compile(
    r"(?:^|[.-])(?:3ds?-?secure\w*|threeds\w*|(?:mastercard)?securecode|verified-?by-?visa)(?=[.-])"
)
"""Names of 3-D Secure pages: `3dsecure.bank.example`, `german-3dsecure.bank.example`, `3d-secure-code.example`."""

USUAL_NAMES = frozenset(
    (
        *("login", "signin", "sso", "auth", "oauth", "oauth2", "idp", "account", "accounts", "passport"),
        *("checkout", "pay", "payment", "payments", "paiement", "epay", "securepay", "vpos", "ideal"),
        *("mail", "webmail", "owa", "roundcube", "zimbra"),
    )
)
"""What hosts for signing in, paying and mail are called, below the domain that they belong to."""

ACS = re.compile(r"(?:acs|3ds)\d*")
"""A 3-D Secure server of a bank (access control server); Nintendo's 3DS lives at such a name too."""

USUAL_PATHS = re.compile(
    r"/(?:oauth2?|openid|saml2?|sso|login|log-in|signin|sign-in|sign_in|authorize|checkout|payments?|pay)(?=[/?.;]|$)",
    re.I,
)
"""Most referrers are cut down to their host; where one is not, its path tells the same."""


@cache
def _listed() -> Mapping[str, tuple[Kind, str]]:
    """Host to its kind and to what the line covers: `*` what is below it, `=` itself, empty both."""
    kinds: dict[str, tuple[Kind, str]] = {}
    kind: Kind = "never"
    for line in FILE.read_text("utf-8").splitlines():
        if line == "[within a visit]":
            kind = "within a visit"
        elif line and line[0] not in "#[":
            mark = line[0] if line[0] in "*=" else ""
            kinds[line.lstrip("*.=")] = kind, mark
    return kinds


@lru_cache(maxsize=8192)
def unwanted(host: str) -> Kind | None:
    """What kind of unwanted referral a host is; None for every other one.

    Args:
        host: case-folded, without a port.
    """
    if CHALLENGES.search(host):
        return "never"
    labels = host.split(".")
    for start in range(len(labels) - 1):
        kind, mark = _listed().get(".".join(labels[start:]), (None, ""))
        if kind and mark != ("*" if start == 0 else "="):
            return kind
    usual = [place for place, label in enumerate(labels) if label in USUAL_NAMES or ACS.fullmatch(label)]
    domain = registrable_domain(host) if usual else None
    return "within a visit" if domain and usual[0] < len(labels) - domain.count(".") - 1 else None


def is_on_the_way(referrer: str) -> bool:
    """Whether the path of a referrer is one where people sign in or pay."""
    _, _, behind = re.split("[?#]", referrer, maxsplit=1)[0].partition("://")
    _, slash, path = behind.partition("/")
    return USUAL_PATHS.search(slash + path) is not None
