"""Patterns and terms against visits, and what pages are searched for (R1, R2). Pure rules.

In a pattern of sources or pages `*` stands for any text; case makes no difference."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from unicodedata import normalize
from urllib.parse import unquote, unquote_plus, urlsplit

from cssselect import SelectorError, parse


class SourceParts(NamedTuple):
    """Source, medium and campaign: of a visit as they are, of a pattern with `*`."""

    source: str
    medium: str
    campaign: str


CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
REGION = re.compile(r"[A-Z]{2}(?:-[A-Z0-9]{1,3})?|[A-Z]{2}(?:-[A-Z0-9]{0,2})?\*", re.IGNORECASE)


def pattern_error(text: str) -> str | None:
    """Why a text cannot be a pattern or another text of one line."""
    return "Write it on one line, without control characters." if CONTROL.search(text) else None


def region_error(text: str) -> str | None:
    return None if REGION.fullmatch(text) else f"“{text}” is not a region like DE, US-CA or US*."


def fits(pattern: str, text: str) -> bool:
    """Whether the text, or everything that fits it if it is a pattern itself, fits the pattern. Never wrongly True: a star is only met by
    a star.

    Each part between stars is sought at its first place: the time stays in proportion to the text, and nothing has to be compiled for
    the many patterns of many projects."""
    first, *others = _folded(pattern).split("*")
    text = _folded(text)
    if not others:
        return first == text
    *middle, last = others
    begin, end = len(first), len(text) - len(last)
    if begin > end or not text.startswith(first) or not text.endswith(last):
        return False
    for part in middle:
        place = text.find(part, begin, end)
        if place < 0:
            return False
        begin = place + len(part)
    return True


@lru_cache(maxsize=1024)
def _folded(text: str) -> str:
    return text.strip().casefold()


def read_source_pattern(text: str) -> SourceParts:
    """`source[/medium[/campaign]]`; what is not named may be anything. A campaign may hold slashes."""
    parts = [*text.split("/", 2), "", ""][:3]
    return SourceParts(*(part.strip() or "*" for part in parts))


def source_fits(pattern: SourceParts, source: SourceParts) -> bool:
    """`source`: a visit's, or a pattern of which everything has to fit."""
    return all(fits(wide, text) for wide, text in zip(pattern, source, strict=True))


ORIGIN = re.compile(r"https?://[^/?#]*", re.IGNORECASE)


def allows(terms: Mapping[str, Any], source: SourceParts, landing_page: str, region: str) -> bool:
    """Whether a visit gets a number of the scenario: something of each non-empty *only* list has to fit, and nothing of any *excluded*
    list.

    Args:
        terms: `Scenario.terms`; an absent or empty list says nothing.
        source: the visit's.
        landing_page: the address of the visit's first page.
        region: `US-CA`, `US`, or empty when unknown: no *only* fits it, and no *excluded*.
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
    """Whether a pattern means a page: by its path, and by its query as well when the pattern has a `?`.

    Case, a slash at the end, percent-encoding and the ways to compose a letter make no difference. `prices` is `/prices`, an address of
    the site is its path, and nothing before the `?` is any path."""
    path, query = _page_parts(address)
    wanted_path, wanted_query = pattern_parts(pattern)
    if wanted_query is not None:
        return any(fits(f"{wanted_path}?{wanted_query}", f"{spelling}?{query}") for spelling in (path, f"{path}/"))
    return any(fits(wanted_path, spelling) for spelling in (path, f"{path}/"))


def region_fits(pattern: str, region: str) -> bool:
    """`US` means all of its regions; `US-CA` only that one. An unknown region fits nothing."""
    return bool(region) and (fits(pattern, region) or fits(pattern, region.partition("-")[0]))


@lru_cache(maxsize=2048)
def _page_parts(address: str) -> tuple[str, str]:
    try:
        parts = urlsplit(address)
    except ValueError:
        return "", ""
    return _path(parts.path), _folded_twice(unquote_plus(parts.query))


@lru_cache(maxsize=2048)
def pattern_parts(pattern: str) -> tuple[str, str | None]:
    """The path of a pattern of pages without the slash at its end, and its query; None without a `?`."""
    pattern = ORIGIN.sub("", pattern.strip(), count=1) or "/"
    path, question, query = pattern.partition("#")[0].partition("?")
    if not path:
        path = "*" if question else "/"
    elif not path.startswith(("/", "*")):
        path = f"/{path}"
    return _path(path), _folded_twice(unquote_plus(query)) if question else None


def _path(text: str) -> str:
    return _folded_twice(unquote(text)).rstrip("/")


def _folded_twice(text: str) -> str:
    """Twice, because folding takes some composed letters apart."""
    return normalize("NFC", normalize("NFC", text).casefold())


PLACEHOLDERS = re.compile("[X#]")
WRITTEN_NUMBER = re.compile(r"\+?[\d\s().\-/–\u00a0]+")
LEAST_DIGITS, MOST_DIGITS = 5, 15


def selector_error(selector: str) -> str | None:
    """Why a page could not be searched with this CSS selector; None when it could."""
    try:
        alternatives = parse(selector)
    except (SelectorError, RecursionError):
        return f"“{selector}” is not a CSS selector like .phone or #header a."
    if any(alternative.pseudo_element for alternative in alternatives):
        return f"“{selector}” names a pseudo-element, which holds no text of the page."
    return None


def replace_error(text: str) -> str | None:
    """Why this cannot be found as a phone number in a page's text."""
    digits = sum(sign.isdigit() for sign in text)
    if WRITTEN_NUMBER.fullmatch(text) and LEAST_DIGITS <= digits <= MOST_DIGITS:
        return None
    return f"“{text}” is not a phone number. Write it as it stands on the page, like (415) 555-2671."


def format_error(mask: str) -> str | None:
    """Why this mask cannot show a number; an empty one leaves the form to the page."""
    if mask and not PLACEHOLDERS.search(mask):
        return "Write X or # where digits go, like +1 (XXX) XXX-XXXX."
    return None
