"""Crawlers get the page's own number: no visit, no lease. These call themselves crawlers (crowds.py knows the others); the list is the
community's, from the package crawler-user-agents. It does not hold the services that render pages for crawlers to read: what such a one is
shown stands in search results for everybody, so they are known here. Browsers that a program drives and that say nothing else may be a
company's own tests: the project decides."""

import re
from functools import cache, lru_cache

from crawleruseragents import CRAWLER_USER_AGENTS_DATA

LONGEST_USER_AGENT = 1000
LIBRARIES, AUTOMATION = "http-library", "browser-automation"
NO_CRAWLERS = {LIBRARIES, AUTOMATION}
"""Kinds on that list which crawl nothing by themselves: a library runs no tag, and a company's own test browsers must see its numbers."""

RENDERERS = (
    *(
        "pre-?render",
        "rendertron",
        "react-?snap",
        "seo4ajax",
        "brombone",
        "spiderable",
        "snapsearch",
        "seosnap",
        "rendora",
    ),
    *("puppeteer-renderer", "headless-render-api", "page-?renderer", "dynamic-?render", "huckabuy"),
)
"""What services and programs write into their user agent that render pages for crawlers: `… HeadlessChrome/… Prerender (+https://…)`."""

RENDERED = "X-Prerender"
"""The header that Prerender sends with all requests of a page that it renders, whatever its browser is called."""

DRIVEN = ("HeadlessEdg", "jsdom", "HappyDOM", "Cypress")
"""Browsers of programs, beside those of the list; Chrome without a window names itself in Sec-CH-UA even under another user agent."""


def _pattern_of(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


@cache
def _crawlers() -> re.Pattern[str]:
    listed = [entry["pattern"] for entry in CRAWLER_USER_AGENTS_DATA if not NO_CRAWLERS & set(entry.get("tags", ()))]
    return _pattern_of(*listed, *(f"(?i:{one})" for one in RENDERERS))


@cache
def _automation() -> re.Pattern[str]:
    listed = [entry["pattern"] for entry in CRAWLER_USER_AGENTS_DATA if AUTOMATION in entry.get("tags", ())]
    return _pattern_of(*listed, *DRIVEN)


@lru_cache(maxsize=4096)
def is_crawler(user_agent: str) -> bool:
    """Whether a browser calls itself a crawler, or renders pages for crawlers; one that says nothing is none."""
    return bool(user_agent) and _crawlers().search(user_agent[:LONGEST_USER_AGENT]) is not None


def is_automated(user_agent: str, client_hint: str = "") -> bool:
    """Whether a browser says that a program drives it. Those that hide it tell the tag (navigator.webdriver), which then asks nothing.

    Args:
        client_hint: Sec-CH-UA.
    """
    return _is_driven(user_agent) or _is_driven(client_hint)


@lru_cache(maxsize=4096)
def _is_driven(said: str) -> bool:
    return bool(said) and _automation().search(said[:LONGEST_USER_AGENT]) is not None
