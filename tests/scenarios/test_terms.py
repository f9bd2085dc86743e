"""R1, R2: for whom a scenario is, and which of its numbers a marketing source is shown."""

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.scenarios.channels import channel_for
from router.scenarios.matching import SourceParts, allows, page_fits, region_fits

GOOGLE = SourceParts("Google", "cpc", "Spring")
DIRECT = SourceParts("direct", "none", "")
PAGE = "https://shop.example/Prices/?utm_source=google&kind=Big+one#top"
SHOWN, HIDDEN = True, False

words = st.text("aB/*?%é1", max_size=8)
lists = st.lists(words, max_size=3)
sources = st.builds(SourceParts, words, words, words)
terms = st.fixed_dictionaries(
    {},
    optional={
        f"{kind}_{what}": lists for kind in ("only", "excluded") for what in ("sources", "landing_pages", "regions")
    },
)


@pytest.mark.parametrize(
    ("given_terms", "expected"),
    [
        ({}, SHOWN),
        ({"only_sources": [], "excluded_sources": []}, SHOWN),
        ({"only_sources": ["google"]}, SHOWN),
        ({"only_sources": ["bing", "goo*/cpc"]}, SHOWN),
        ({"only_sources": ["bing"]}, HIDDEN),
        ({"excluded_sources": ["GOOGLE/cpc/spring"]}, HIDDEN),
        ({"excluded_sources": ["google/organic"]}, SHOWN),
        ({"only_sources": ["google"], "excluded_sources": ["*/cpc"]}, HIDDEN),
        ({"only_landing_pages": ["/prices"]}, SHOWN),
        ({"only_landing_pages": ["/about", "/contact"]}, HIDDEN),
        ({"excluded_landing_pages": ["/pri*"]}, HIDDEN),
        ({"excluded_landing_pages": ["/"]}, SHOWN),
        ({"only_sources": ["google"], "only_landing_pages": ["/about"]}, HIDDEN),
        ({"only_regions": ["US"]}, SHOWN),
        ({"only_regions": ["us-ca", "DE"]}, SHOWN),
        ({"only_regions": ["US-NY"]}, HIDDEN),
        ({"excluded_regions": ["US"]}, HIDDEN),
        ({"excluded_regions": ["U"]}, SHOWN),
    ],
)
def test_r1_terms_say_both_ways_who_gets_a_number(given_terms: dict[str, Any], expected: bool) -> None:
    assert allows(given_terms, GOOGLE, PAGE, "US-CA") is expected


def test_r1_an_unknown_region_is_neither_among_only_nor_excluded() -> None:
    assert not allows({"only_regions": ["*"]}, GOOGLE, PAGE, "")
    assert allows({"excluded_regions": ["*", "US"]}, GOOGLE, PAGE, "")
    assert region_fits("US", "US")
    assert not region_fits("US-CA", "US")


@pytest.mark.parametrize(
    ("pattern", "address", "expected"),
    [
        ("/prices", "https://shop.example/prices/", True),
        ("/prices/", "https://shop.example/PRICES", True),
        ("/prices/*", "https://shop.example/prices/big", True),
        ("/prices/*", "https://shop.example/prices", True),
        ("/prices/*", "https://shop.example/pricesbig", False),
        ("prices", "https://shop.example/prices", True),
        ("https://shop.example/prices", "https://www.shop.example/prices", True),
        ("https://shop.example", "https://shop.example/", True),
        ("/", "https://shop.example", True),
        ("/", "https://shop.example?x=1", True),
        ("/", "https://shop.example/a", False),
        ("*", "https://shop.example/a", True),
        ("/цены", "https://shop.example/%D1%86%D0%B5%D0%BD%D1%8B", True),
        ("/%D1%86%D0%B5%D0%BD%D1%8B", "https://shop.example/ЦЕНЫ", True),
        ("/caf\u00e9", "https://shop.example/cafe\u0301", True),
        ("/a b", "https://shop.example/a%20b", True),
        ("/a?b=1", "https://shop.example/a?b=1", True),
        ("/a?b=1", "https://shop.example/a/?B=1", True),
        ("/a?b=1", "https://shop.example/a?b=1&c=2", False),
        ("/a?*b=1*", "https://shop.example/a?c=2&b=1", True),
        ("?utm_source=google", "https://shop.example/any/page?utm_source=google", True),
        ("/a?", "https://shop.example/a", True),
        ("/a?", "https://shop.example/a?b=1", False),
        ("/a", "https://shop.example/a?b=1", True),
        ("/a%3Fb", "https://shop.example/a%3Fb", True),
        ("/a%3Fb", "https://shop.example/a?b", False),
        ("/a", "http://[", False),
    ],
)
def test_r1_a_page_pattern_means_the_path_and_with_a_question_mark_the_query_too(
    pattern: str, address: str, expected: bool
) -> None:
    assert page_fits(pattern, address) is expected


@given(st.text(st.characters(codec="utf-8", exclude_characters="*?#/%\0"), min_size=1, max_size=12))
def test_r1_every_path_fits_itself_however_it_is_written(path: str) -> None:
    page = f"https://shop.example/a{quote(path, safe='')}z"
    assert page_fits(f"/A{path}Z", page)
    assert page_fits(f"/a{quote(path, safe='')}z/", page)


@given(terms, sources, words, st.sampled_from(["", "US", "US-CA"]))
def test_r1_excluding_more_never_shows_more_and_nothing_breaks(
    given_terms: dict[str, list[str]], source: SourceParts, page: str, region: str
) -> None:
    address = f"https://shop.example/{page}"
    for name in ("excluded_sources", "excluded_landing_pages", "excluded_regions"):
        more = given_terms | {name: [*given_terms.get(name, []), "a*"]}
        assert allows(given_terms, source, address, region) or not allows(more, source, address, region)
    without = {name: [] for name in given_terms}
    assert allows(without, source, address, region)


@given(terms, sources, words)
def test_r1_only_one_and_excluded_one_are_opposites(
    given_terms: dict[str, list[str]], source: SourceParts, pattern: str
) -> None:
    page = "https://shop.example/"
    assert allows({"only_sources": [pattern]}, source, page, "") != allows(
        {"excluded_sources": [pattern]}, source, page, ""
    )


def row(kind: str, number: str | None = None, **match: str) -> dict[str, Any]:
    return {"match": match, "kind": kind} | ({"number": number} if number else {})


def test_r1_by_default_every_source_gets_dynamic_numbers() -> None:
    assert channel_for([], GOOGLE) == ("dynamic", None)
    assert channel_for([row("static", "+12125550001", source="bing")], GOOGLE) == ("dynamic", None)


def test_r1_the_first_channel_that_fits_counts() -> None:
    rows = [
        row("static", "+12125550001", source="bing"),
        row("dynamic", source="google", medium="cpc", campaign="s*"),
        row("static", "+12125550002", source="google"),
    ]
    assert channel_for(rows, GOOGLE) == ("dynamic", None)
    assert channel_for(rows, GOOGLE._replace(medium="organic")) == ("static", "+12125550002")
    assert channel_for(rows, SourceParts("BING", "", "")) == ("static", "+12125550001")
    assert channel_for([row("dynamic"), *rows], SourceParts("bing", "", "")) == ("dynamic", None)


@pytest.mark.parametrize("match", [None, {}, {"source": ""}])
def test_r1_a_static_number_without_a_match_is_shown_to_nobody(match: Any) -> None:
    rows = [{"match": match, "kind": "static", "number": "+12125550001"}, row("static", "+12125550002", source="*")]
    assert channel_for(rows[:1], GOOGLE) == ("dynamic", None)
    assert channel_for(rows, GOOGLE) == ("static", "+12125550002")


@given(st.lists(st.builds(row, st.sampled_from(["static", "dynamic"]), st.just("+1"), source=words)), sources)
def test_r1_rows_behind_the_one_that_fits_never_matter(rows: list[dict[str, Any]], source: SourceParts) -> None:
    decided = channel_for(rows, source)
    kind, number = decided
    if kind == "static":
        assert number in [one["number"] for one in rows]
    assert channel_for([*rows, row("dynamic")], source) == decided
    static = row("static", "+2", source=source.source or "*")
    assert channel_for([static, *rows], source) == ("static", "+2") or "*" in source.source
