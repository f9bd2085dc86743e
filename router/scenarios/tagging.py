"""Tagging: which elements and numbers of the page are replaced, and how the tracking number is written there."""

import re

from cssselect import SelectorError, parse

PLACEHOLDERS = re.compile("[X#]")
WRITTEN_NUMBER = re.compile(r"\+?[\d\s().\-/–\u00a0]+")
LEAST_DIGITS, MOST_DIGITS = 5, 15


def selector_error(selector: str) -> str | None:
    """Why a page could not be searched with this CSS selector; None when it could."""
    try:
        found = parse(selector)
    except (SelectorError, RecursionError):
        return f"“{selector}” is not a CSS selector like .phone or #header a."
    if any(one.pseudo_element for one in found):
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
