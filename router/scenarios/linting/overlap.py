"""Selectors of scenarios that claim the same elements of a page: such an element belongs to the lowest id (R1)."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations
from typing import Any

from cssselect import SelectorError, parse
from cssselect.parser import CombinedSelector, Element

Key = frozenset[str] | str
"""What a selector asks of an element: its tag, classes, id and so on; with combinators, its text."""

MOST_CONDITIONS = 6
"""Selectors that ask more of one element are compared as they stand."""


@dataclass(frozen=True)
class Claim:
    """What a scenario claims on the page."""

    scenario_id: int
    title: str
    selectors: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()


@dataclass
class Claims:
    """The claims of many scenarios, so that each is compared with all others without a walk over them."""

    titles: dict[int, str] = field(default_factory=dict)
    _exact: dict[Key, list[int]] = field(default_factory=dict)
    _within: dict[Key, list[int]] = field(default_factory=dict)
    _replaced: dict[str, list[int]] = field(default_factory=dict)

    def add(self, claim: Claim) -> None:
        """To be called in ascending order of ids."""
        self.titles[claim.scenario_id] = claim.title
        for selector in claim.selectors:
            for own, within in _keys(selector):
                _note(self._exact.setdefault(own, []), claim.scenario_id)
                for key in within:
                    _note(self._within.setdefault(key, []), claim.scenario_id)
        for text in claim.replace:
            _note(self._replaced.setdefault(_digits(text), []), claim.scenario_id)

    def others_with_selector(self, scenario_id: int, selector: str) -> int | None:
        """The lowest other scenario that surely claims elements of this selector as well, if there is one."""
        found: set[int] = set()
        for own, within in _keys(selector):
            found.update(self._within.get(own, ()))
            for key in within:
                found.update(self._exact.get(key, ()))
        return min(found - {scenario_id}, default=None)

    def others_with_number(self, scenario_id: int, text: str) -> int | None:
        """The lowest other scenario that replaces this number of the page's text."""
        return min(set(self._replaced.get(_digits(text), ())) - {scenario_id}, default=None)


def claims_of(claims: Iterable[Claim]) -> Claims:
    found = Claims()
    for claim in sorted(claims, key=lambda one: one.scenario_id):
        found.add(claim)
    return found


def _note(lowest: list[int], scenario_id: int) -> None:
    """Two are enough to know the lowest other one of each scenario."""
    if len(lowest) < 2 and scenario_id not in lowest:
        lowest.append(scenario_id)


def _digits(text: str) -> str:
    return "".join(sign for sign in text if sign.isdigit())


@lru_cache(maxsize=8192)
def _keys(selector: str) -> tuple[tuple[Key, frozenset[Key]], ...]:
    """For each of a selector's alternatives: itself, and every selector that is known to claim all of its elements."""
    try:
        alternatives = parse(selector)
    except (SelectorError, RecursionError):
        return ()
    return tuple(_keys_of(one.parsed_tree) for one in alternatives)


def _keys_of(tree: Any) -> tuple[Key, frozenset[Key]]:
    last = tree.subselector if isinstance(tree, CombinedSelector) else tree
    conditions = _conditions(last)
    own: Key = tree.canonical() if isinstance(tree, CombinedSelector) else conditions
    if len(conditions) > MOST_CONDITIONS:
        return own, frozenset({own, conditions})
    wider = {frozenset(some) for size in range(len(conditions) + 1) for some in combinations(conditions, size)}
    return own, frozenset({own, *wider})


def _conditions(node: Any) -> frozenset[str]:
    """`a.phone#top` asks for `a`, `.phone` and `#top`."""
    found = set()
    while not isinstance(node, Element):
        inner = node.selector
        found.add(node.canonical().removeprefix(inner.canonical()))
        node = inner
    if node.element:
        found.add(node.canonical())
    return frozenset(found)
