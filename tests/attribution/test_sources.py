"""Where a visitor came from: UTM first, then click ids, then the referrer; and what hostile values cannot do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.attribution.origins import belongs, host_and_port, is_own_host
from router.attribution.referrers import SEARCH_ENGINES, SOCIAL_NETWORKS, owner_of
from router.attribution.sources import DIRECT, Evidence, Source, channel_of, read_evidence

SITE = ["shop.example", "*.branches.example", "dev.example:8080"]


def evidence(query: str = "", referrer: str = "", **click_ids: str) -> Evidence:
    page = f"https://shop.example/{query}"
    return read_evidence(page, referrer, click_ids, lambda host: is_own_host(SITE, host, "shop.example"))


@pytest.mark.parametrize(
    ("query", "referrer", "channel", "source", "medium"),
    [
        ("?utm_source=google&utm_medium=cpc", "", "paid_search", "google", "cpc"),
        ("?UTM_Source=Google&utm_MEDIUM=CPC", "", "paid_search", "Google", "CPC"),
        ("?utm_source=news&utm_medium=email&gclid=x", "https://www.google.com/", "email", "news", "email"),
        ("?gclid=x", "https://www.facebook.com/", "paid_search", "google", "cpc"),
        ("?utm_campaign=spring&yclid=1", "", "paid_search", "yandex", "cpc"),
        ("?utm_campaign=spring", "", "other", "unknown", ""),
        ("?fbclid=x", "", "social", "facebook", "social"),
        ("", "https://www.google.co.uk/search", "organic_search", "google", "organic"),
        ("", "https://mail.google.com/", "referral", "mail.google.com", "referral"),
        ("", "https://google.evil.example/", "referral", "google.evil.example", "referral"),
        ("", "https://m.facebook.com/", "social", "facebook", "social"),
        ("", "https://not-linkedin.com/", "referral", "not-linkedin.com", "referral"),
        ("", "https://linkedin.com.evil.example/", "referral", "linkedin.com.evil.example", "referral"),
        ("?utm_source=not-linkedin&utm_medium=cpc", "", "paid_search", "not-linkedin", "cpc"),
        ("?utm_source=linkedin&utm_medium=cpc", "", "paid_social", "linkedin", "cpc"),
        ("?utm_source=not-linkedin", "", "other", "not-linkedin", ""),
        ("?utm_source=linkedin", "", "social", "linkedin", ""),
        ("", "https://WWW.Partner.Example/a", "referral", "partner.example", "referral"),
        ("", "https://www.shop.example/a", "direct", "direct", "none"),
        ("", "https://north.branches.example/", "direct", "direct", "none"),
        ("", "android-app://com.google.android.gm/", "direct", "direct", "none"),
        ("", "javascript:alert(1)", "direct", "direct", "none"),
        ("", "https://[::1", "direct", "direct", "none"),
        ("?utm_source=&utm_medium=", "", "direct", "direct", "none"),
    ],
)
def test_utm_comes_first_then_click_ids_then_the_referrer(
    query: str, referrer: str, channel: str, source: str, medium: str
) -> None:
    found = evidence(query, referrer)
    assert (found.source.channel, found.source.source, found.source.medium) == (channel, source, medium)
    assert found.found is (found.source != DIRECT)


def test_sources_are_the_same_case_folded_and_differ_by_their_campaign() -> None:
    assert Source("x", "Google", "CPC", "Spring").key == Source("y", "google ", "cpc", "SPRING", "term", "ad").key
    assert Source("x", "google", "cpc", "spring").key != Source("x", "google", "cpc", "autumn").key
    assert Source("x", "a", "b\x1fc").key != Source("x", "a\x1fb", "c", "d").key
    assert -(2**63) <= DIRECT.key < 2**63


@given(st.text(), st.text(), st.dictionaries(st.sampled_from(["gclid", "fbclid", "junk"]), st.text(max_size=3000)))
def test_no_page_or_referrer_can_break_it_or_be_stored_too_long(page: str, referrer: str, ids: dict[str, str]) -> None:
    for address in (page, f"https://shop.example/?{page}", f"https://{page}/?utm_source={page}"):
        found = read_evidence(address, referrer, ids, lambda host: False)
        for value in (found.source.source, found.source.medium, found.source.campaign, found.source.term):
            assert len(value) <= 200
            assert "\0" not in value
        assert all(len(value) <= 500 for value in found.click_ids.values())
        assert isinstance(found.source.key, int)


def test_a_flood_of_parameters_and_very_long_values_do_no_harm() -> None:
    assert evidence("?" + "&".join(f"a{i}=b" for i in range(5000))).source == DIRECT
    assert len(evidence("?utm_source=" + "x" * 10_000).source.source) == 200


@given(st.text(), st.text())
def test_a_channel_is_found_for_any_words(source: str, medium: str) -> None:
    assert channel_of(source, medium)


@pytest.mark.parametrize("hosts", [SEARCH_ENGINES, SOCIAL_NETWORKS])
def test_a_host_is_owned_with_its_sub_domains_and_never_by_a_part_of_its_name(hosts: dict[str, str]) -> None:
    for host, name in hosts.items():
        assert owner_of(host, hosts) == owner_of(f"www.{host}", hosts) == name
        assert owner_of(f"not-{host}", hosts) != name or owner_of(f"not-{host}", {host: name}) is None
        assert owner_of(f"{host}.evil.example", hosts) is None


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("https://shop.example", True),
        ("http://www.shop.example", True),
        ("https://shop.example:443", True),
        ("https://shop.example.", True),
        ("https://SHOP.example", True),
        ("https://north.branches.example", True),
        ("http://dev.example:8080", True),
        ("http://dev.example:8081", False),
        ("https://branches.example", False),
        ("https://.branches.example", False),
        ("https://evilshop.example", False),
        ("https://shop.example.evil.net", False),
        ("https://shop.example@evil.net", False),
        ("https://evil.net#shop.example", False),
        ("https://evil.net/shop.example", False),
        ("ftp://shop.example", False),
        ("https://", False),
        ("https://shop.example:99999", False),
        ("null", False),
        ("", False),
    ],
)
def test_only_the_sites_own_hosts_belong_to_it(address: str, own: bool) -> None:
    found = host_and_port(address)
    assert (found is not None and belongs(SITE, *found)) is own


@given(st.text())
def test_no_address_breaks_the_reading_of_hosts(address: str) -> None:
    for text in (address, f"https://{address}", f"//{address}"):
        found = host_and_port(text)
        assert found is None or belongs(SITE, *found) in (True, False)
