"""Hosts of search engines and social networks, each with its name. A sub-domain belongs to its host; names are never compared in parts."""

from collections.abc import Mapping

SEARCH_ENGINES: Mapping[str, str] = {
    "bing.com": "bing",
    "duckduckgo.com": "duckduckgo",
    "search.yahoo.com": "yahoo",
    "yahoo.co.jp": "yahoo",
    "baidu.com": "baidu",
    "ecosia.org": "ecosia",
    "qwant.com": "qwant",
    "startpage.com": "startpage",
    "search.brave.com": "brave",
    "seznam.cz": "seznam",
    "naver.com": "naver",
    "sogou.com": "sogou",
    "so.com": "360.cn",
    "kagi.com": "kagi",
    "swisscows.com": "swisscows",
    "mojeek.com": "mojeek",
    "go.mail.ru": "mail.ru",
    "search.aol.com": "aol",
    "ya.ru": "yandex",
    "yandex.com": "yandex",
    "yandex.ru": "yandex",
    "yandex.kz": "yandex",
    "yandex.by": "yandex",
    "yandex.uz": "yandex",
    "yandex.com.tr": "yandex",
}

SOCIAL_NETWORKS: Mapping[str, str] = {
    "facebook.com": "facebook",
    "fb.com": "facebook",
    "fb.me": "facebook",
    "messenger.com": "facebook",
    "instagram.com": "instagram",
    "threads.net": "threads",
    "threads.com": "threads",
    "linkedin.com": "linkedin",
    "lnkd.in": "linkedin",
    "twitter.com": "x",
    "x.com": "x",
    "t.co": "x",
    "tiktok.com": "tiktok",
    "youtube.com": "youtube",
    "youtu.be": "youtube",
    "pinterest.com": "pinterest",
    "pin.it": "pinterest",
    "reddit.com": "reddit",
    "redd.it": "reddit",
    "snapchat.com": "snapchat",
    "vk.com": "vk",
    "vk.ru": "vk",
    "ok.ru": "ok",
    "t.me": "telegram",
    "telegram.org": "telegram",
    "web.telegram.org": "telegram",
    "whatsapp.com": "whatsapp",
    "wa.me": "whatsapp",
    "xing.com": "xing",
    "bsky.app": "bluesky",
    "mastodon.social": "mastodon",
    "quora.com": "quora",
    "tumblr.com": "tumblr",
    "weibo.com": "weibo",
    "line.me": "line",
}

GOOGLE_SECOND_LEVELS = ("co", "com")


def owner_of(host: str, hosts: Mapping[str, str]) -> str | None:
    """The name of the engine or network that a host, or a host above it, belongs to."""
    if hosts is SEARCH_ENGINES and _is_google(host):
        return "google"
    labels = host.split(".")
    for start in range(len(labels) - 1):
        if name := hosts.get(".".join(labels[start:])):
            return name
    return None


def _is_google(host: str) -> bool:
    """google.com, www.google.de, google.co.uk, google.com.br; but mail.google.com and google.example.com are no search."""
    labels = host.removeprefix("www.").split(".")
    if labels[0] != "google":
        return False
    return len(labels) == 2 or (len(labels) == 3 and labels[1] in GOOGLE_SECOND_LEVELS and len(labels[2]) == 2)
