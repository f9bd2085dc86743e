"""For whom a scenario is (R1, R2): its terms against a visit's marketing source, first page and region. Pure rules."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from unicodedata import normalize
from urllib.parse import unquote, unquote_plus, urlsplit

from router.scenarios.patterns import SourceParts, fits, read_source_pattern, source_fits

ORIGIN = re.compile(r"https?://[^/?#]*", re.IGNORECASE)


def allows(terms: Mapping[str, Any], source: SourceParts, landing_page: str, region: str) -> bool:
    """Whether a visit gets a number of the scenario. Each *only* list that is not empty has to hold something that fits, and no
    *excluded* list may.

    Args:
        terms: `Scenario.terms`; an absent or empty list says nothing.
        source: the visit's.
        landing_page: the address of the visit's first page.
        region: `US-CA`, `US`, or empty when it is not known: no *only* fits it, and no *excluded*.
    """
    return not terms or (
        _permits(terms, "sources", lambda pattern: source_fits(read_source_pattern(pattern), source))
        and _permits(terms, "landing_pages", lambda pattern: page_fits(pattern, landing_page))
        and _permits(terms, "regions", lambda pattern: region_fits(pattern, region))
    )


def _permits(terms: Mapping[str, Any], what: str, is_met: Any) -> bool:
    only: Iterable[str] = terms.get(f"only_{what}") or ()
    excluded: Iterable[str] = terms.get(f"excluded_{what}") or ()
    return not any(map(is_met, excluded)) and (not only or any(map(is_met, only)))


def page_fits(pattern: str, address: str) -> bool:
    """Whether a page is one of those that a pattern means: its path; with its query when the pattern has a `?`.

    Case, a slash at the end, percent-encoding and the ways to compose a letter make no difference. `prices` is `/prices`, an address of
    the site is its path, and nothing before the `?` is any path.
    """
    path, query = _page_parts(address)
    wanted_path, wanted_query = pattern_parts(pattern)
    if wanted_query is not None:
        return any(fits(f"{wanted_path}?{wanted_query}", f"{one}?{query}") for one in (path, f"{path}/"))
    return any(fits(wanted_path, one) for one in (path, f"{path}/"))


def region_fits(pattern: str, region: str) -> bool:
    """`US` means all of its regions; `US-CA` only that one. An unknown region fits nothing."""
    return bool(region) and (fits(pattern, region) or fits(pattern, region.partition("-")[0]))


@lru_cache(maxsize=2048)
def _page_parts(address: str) -> tuple[str, str]:
    """Path without the slash at its end, and query."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "", ""
    return _path(parts.path), _folded(unquote_plus(parts.query))


@lru_cache(maxsize=2048)
def pattern_parts(pattern: str) -> tuple[str, str | None]:
    """The path of a pattern of pages without the slash at its end, and its query; None when it says nothing about one."""
    pattern = ORIGIN.sub("", pattern.strip(), count=1) or "/"
    path, question, query = pattern.partition("#")[0].partition("?")
    if not path:
        path = "*" if question else "/"
    elif not path.startswith(("/", "*")):
        path = f"/{path}"
    return _path(path), _folded(unquote_plus(query)) if question else None


def _path(text: str) -> str:
    return _folded(unquote(text)).rstrip("/")


def _folded(text: str) -> str:
    """Twice, because folding takes some composed letters apart."""
    return normalize("NFC", normalize("NFC", text).casefold())
