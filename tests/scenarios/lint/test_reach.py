"""R2: terms under which no visitor can ever match."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from router.scenarios.channels import channel_for
from router.scenarios.lint import channels_shut_out, shut_out
from router.scenarios.matching import SourceParts, allows
from tests.properties import examples

source_words = st.lists(st.sampled_from(["google", "bing", "cpc", "g", "*", "/", ""]), max_size=5).map("".join)
page_words = st.lists(
    st.sampled_from(["/", "a", "sale", "*", "?", "=", "%2a", "#", "é", "é", "x=1", "https://shop.example", " "]),
    max_size=6,
).map("".join)
region_words = st.sampled_from(["DE", "US", "US*", "US-*", "us-ca", "US-C*", "DE-BY"])
terms = st.fixed_dictionaries(
    {},
    optional={
        "only_sources": st.lists(source_words, max_size=2),
        "excluded_sources": st.lists(source_words, max_size=3),
        "only_landing_pages": st.lists(page_words, max_size=2),
        "excluded_landing_pages": st.lists(page_words, max_size=3),
        "only_regions": st.lists(region_words, max_size=2),
        "excluded_regions": st.lists(region_words, max_size=2),
    },
)
visitors = st.tuples(
    st.builds(SourceParts, *[st.sampled_from(["google", "bing", "g", "cpc", "none", ""])] * 3),
    page_words.map(lambda path: f"https://shop.example/{path.replace('*', 'x')}"),
    st.sampled_from(["", "DE", "US", "US-CA", "US-NY", "DE-BY"]),
)


@given(terms, visitors)
@settings(max_examples=examples(400))
@example({"only_landing_pages": ["/a?*"], "excluded_landing_pages": ["/a"]}, (SourceParts("", "", ""), "/a%3Fb?y", ""))
@example({"only_landing_pages": ["/*x?y"], "excluded_landing_pages": ["/*x"]}, (SourceParts("", "", ""), "/a?bx?y", ""))
def test_r2_terms_that_are_said_to_let_nobody_in_never_do(given_terms: Any, visitor: Any) -> None:
    if shut_out(given_terms):
        assert not allows(given_terms, *visitor)


@pytest.mark.parametrize(
    ("given_terms", "member"),
    [
        ({"only_sources": ["google/cpc"], "excluded_sources": ["bing", "google"]}, "only_sources"),
        ({"only_sources": ["google", "bing"], "excluded_sources": ["*/cpc", "google", "b*"]}, "only_sources"),
        ({"excluded_sources": ["*"]}, "excluded_sources"),
        ({"excluded_sources": ["*/*"]}, "excluded_sources"),
        ({"only_landing_pages": ["/sale/*"], "excluded_landing_pages": ["/s*"]}, "only_landing_pages"),
        ({"only_landing_pages": ["/sale?x=1"], "excluded_landing_pages": ["/sale"]}, "only_landing_pages"),
        ({"excluded_landing_pages": ["*"]}, "excluded_landing_pages"),
        ({"only_regions": ["US-CA"], "excluded_regions": ["US"]}, "only_regions"),
        ({"only_regions": ["DE"], "excluded_regions": ["de*"]}, "only_regions"),
    ],
)
def test_r2_terms_that_let_nobody_in_are_found(given_terms: dict[str, Any], member: str) -> None:
    assert shut_out(given_terms) == member


@pytest.mark.parametrize(
    "given_terms",
    [
        {},
        {"only_sources": ["google"], "excluded_sources": ["google/cpc"]},
        {"only_sources": ["google", "bing"], "excluded_sources": ["google"]},
        {"only_sources": ["google"], "excluded_landing_pages": ["/google"]},
        {"only_landing_pages": ["/sale"], "excluded_landing_pages": ["/sale?x=1"]},
        {"only_regions": ["US"], "excluded_regions": ["US-CA"]},
        {"excluded_regions": ["US"]},
    ],
)
def test_r2_terms_that_let_somebody_in_are_not_pointed_out(given_terms: dict[str, Any]) -> None:
    assert shut_out(given_terms) is None


@given(st.lists(source_words, max_size=3), st.lists(source_words, max_size=3), visitors)
@settings(deadline=None)
def test_r2_a_channel_whose_visitors_the_terms_exclude_is_never_reached(
    matched: list[str], excluded: list[str], visitor: Any
) -> None:
    channels = [
        {"match": {"source": source} if source else {}, "kind": "static", "number": f"+{index}"}
        for index, source in enumerate(matched)
    ]
    given_terms = {"excluded_sources": excluded}
    kind, e164 = channel_for(channels, visitor[0])
    if allows(given_terms, *visitor) and kind == "static":
        assert int(str(e164)) not in channels_shut_out(channels, given_terms)
