"""What the browsers of simulated visitors send, and when: page views, signs of life every 45 s, leaving, taps; and crawlers in between."""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge

from router.attribution.planner.traffic import Stay, Traffic

ALIVE = 45.0
NEXT_PAGE_FROM = 60.0
NEXT_PAGE_AT = 0.4
"""Who stays for a minute looks at a second page, after this part of his stay; it takes a second to load."""
CRAWLER_EVERY = 20
"""Visits for each page view of a crawler."""


@dataclass(frozen=True, slots=True, order=True)
class Act:
    """`what`: 0 page view, 1 sign of life, 2 left, 3 tap, 4 call, 5 crawler. `index`: of the stay, or of the call."""

    at: float
    what: int
    index: int


VIEW, SIGN, LEFT, TAP, CALL, CRAWLER = range(6)


def acts_of(traffic: Traffic) -> Iterator[Act]:
    """Everything that happens, in order of time."""
    taps = (Act(tap.at, TAP, tap.stay) for tap in traffic.taps)
    calls = (Act(call.at, CALL, index) for index, call in enumerate(traffic.calls))
    stays = sorted(act for index, stay in enumerate(traffic.stays) for act in _stay(index, stay))
    return merge(stays, taps, calls)


def _stay(index: int, stay: Stay) -> Iterator[Act]:
    if index % CRAWLER_EVERY == 0:
        yield Act(stay.start, CRAWLER, index)
    for span in stay.spans:
        pages = [span.start]
        if span.last - span.start >= NEXT_PAGE_FROM:
            leaves = span.start + NEXT_PAGE_AT * (span.last - span.start)
            yield Act(leaves, LEFT, index)
            pages.append(leaves + 1)
        for page, until in zip(pages, [*pages[1:], span.last], strict=True):
            yield Act(page, VIEW, index)
            yield from (Act(at, SIGN, index) for at in _every(page + ALIVE, until))
        if span.left:
            yield Act(span.last, LEFT, index)


def _every(first: float, until: float) -> Iterator[float]:
    at = first
    while at < until:
        yield at
        at += ALIVE
