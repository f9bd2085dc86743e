"""Whom terms let in at all (R2): terms under which no visitor can ever match are pointed out. Pure; never wrong when it says so."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from router.scenarios.channel_rows import Channel, is_for_visitors, parts_of_match
from router.scenarios.patterns import covers, read_source_pattern, source_covers
from router.scenarios.terms import pattern_parts


def shut_out(terms: Mapping[str, Any]) -> str | None:
    """The member of the terms (`only_sources`, `excluded_sources`, ...) that leaves no visitor; None when there may be some."""
    for what, is_covered, every in KINDS:
        only, excluded = terms.get(f"only_{what}") or [], terms.get(f"excluded_{what}") or []
        wanted = only or every
        if wanted and all(any(is_covered(wide, narrow) for wide in excluded) for narrow in wanted):
            return f"only_{what}" if only else f"excluded_{what}"
    return None


def channels_shut_out(channels: Sequence[Channel], terms: Mapping[str, Any]) -> list[int]:
    """Indexes of the channels whose every visitor the terms exclude."""
    excluded = [read_source_pattern(one) for one in terms.get("excluded_sources") or []]
    return [
        index
        for index, one in enumerate(channels)
        if is_for_visitors(one) and any(source_covers(wide, parts_of_match(one["match"])) for wide in excluded)
    ]


def source_covered(wide: str, narrow: str) -> bool:
    return source_covers(read_source_pattern(wide), read_source_pattern(narrow))


def page_covered(wide: str, narrow: str) -> bool:
    """A pattern without `?` is compared with the path alone, one with it with path and query; a slash at the end of a path counts only
    before a query."""
    (wide_path, wide_query), (path, query) = pattern_parts(wide), pattern_parts(narrow)
    if wide_query is not None:
        return query is not None and covers(f"{wide_path}?{wide_query}", f"{path}?{query}")
    if query is not None and any(sign in path + query for sign in "*?"):
        path = f"{path.partition('*')[0]}*"  # what stands before the `?` of an address may be more than this path
    return covers(wide_path, path)


def region_covered(wide: str, narrow: str) -> bool:
    """`US` means all of its regions."""
    return covers(wide, narrow) or covers(wide, narrow[:2])


KINDS: tuple[tuple[str, Callable[[str, str], bool], list[str]], ...] = (
    ("sources", source_covered, ["*"]),
    ("landing_pages", page_covered, ["/*"]),
    ("regions", region_covered, []),
)
"""Each kind of terms, how one pattern covers another, and what everybody fits."""
