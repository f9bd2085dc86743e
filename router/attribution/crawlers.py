"""Crawlers get the page's own number: no visit, no lease. These call themselves crawlers (crowds.py knows the others); the list is the
community's, from the package crawler-user-agents."""

import re
from functools import cache, lru_cache

from crawleruseragents import CRAWLER_USER_AGENTS_DATA

LONGEST_USER_AGENT = 1000
NO_CRAWLERS = {"http-library", "browser-automation"}
"""Kinds on that list which crawl nothing: a library runs no tag, and a company's own test browsers must see its numbers."""


@cache
def _pattern() -> re.Pattern[str]:
    crawlers = [entry["pattern"] for entry in CRAWLER_USER_AGENTS_DATA if not NO_CRAWLERS & set(entry.get("tags", ()))]
    return re.compile("|".join(f"(?:{pattern})" for pattern in crawlers))


@lru_cache(maxsize=4096)
def is_crawler(user_agent: str) -> bool:
    """Whether a browser calls itself a crawler; one that says nothing is none."""
    return bool(user_agent) and _pattern().search(user_agent[:LONGEST_USER_AGENT]) is not None
