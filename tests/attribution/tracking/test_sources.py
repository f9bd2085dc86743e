"""Where a visitor came from: UTM first, then click ids, then the referrer; and what hostile values cannot do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.attribution.tracking.parameters import AD_SIGNS, CLICK_IDS, FREE_SIGNS
from router.attribution.tracking.referrers import (
    ADVERTISERS,
    AI_ASSISTANTS,
    NATIONAL_ENGINES,
    SEARCH_ENGINES,
    SHORT_NAMES,
    SOCIAL_NETWORKS,
    Owners,
    owner_of,
)
from router.attribution.tracking.schema import belongs, host_and_port, is_own_host
from router.attribution.tracking.sources import DIRECT, Evidence, Source, channel_of, read_evidence

SITE = ["shop.example", "*.branches.example", "dev.example:8080"]


def evidence(query: str = "", referrer: str = "", country: str = "", **click_ids: str) -> Evidence:
    page = f"https://shop.example/{query}"
    return read_evidence(page, referrer, click_ids, lambda host: is_own_host(SITE, host, "shop.example"), country)


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
        ("", "https://blog.SHOP.example/post", "direct", "direct", "none"),
        ("", "https://shop.example./", "direct", "direct", "none"),
        ("", "https://myshop.example/", "referral", "myshop.example", "referral"),
        ("", "android-app://com.google.android.gm/", "direct", "direct", "none"),
        ("", "android-app://com.linkedin.android/", "social", "linkedin", "social"),
        ("", "android-app://com.google.android.googlequicksearchbox/x", "organic_search", "google", "organic"),
        ("", "android-app://not.com.linkedin.android/", "direct", "direct", "none"),
        ("?gbraid=x", "", "paid_search", "google", "cpc"),
        ("?wbraid=x", "", "paid_search", "google", "cpc"),
        ("?msclkid=x", "https://www.bing.com/", "paid_search", "bing", "cpc"),
        ("?ttclid=x", "", "paid_social", "tiktok", "paid_social"),
        ("?GCLID=x", "", "paid_search", "google", "cpc"),
        ("?gclid=-", "", "paid_search", "google", "cpc"),
        ("?utm_campaign=spring&yclid=-", "", "paid_search", "yandex", "cpc"),
        ("?fbclid=-", "https://l.instagram.com/", "social", "instagram", "social"),
        ("?fbclid=x", "https://l.instagram.com/", "social", "instagram", "social"),
        ("?fbclid=x", "https://www.shop.example/", "social", "facebook", "social"),
        ("?fbclid=x&gclid=y", "", "paid_search", "google", "cpc"),
        ("?not_gclid=x&gclid_=y&utm_sources=z", "", "direct", "direct", "none"),
        ("", "https://www.yandex.com.tr/search", "organic_search", "yandex", "organic"),
        ("", "https://ya.ru/", "organic_search", "yandex", "organic"),
        ("", "https://mail.yandex.ru/", "referral", "mail.yandex.ru", "referral"),
        ("", "https://m.search.naver.com/", "organic_search", "naver", "organic"),
        ("", "https://go.mail.ru/search", "organic_search", "mail.ru", "organic"),
        ("", "https://e.mail.ru/", "referral", "e.mail.ru", "referral"),
        ("", "https://away.vk.com/", "social", "vk", "social"),
        ("", "https://chatgpt.com/", "ai_assistant", "chatgpt", "ai-assistant"),
        ("", "https://www.perplexity.ai/search", "ai_assistant", "perplexity", "ai-assistant"),
        ("", "https://gemini.google.com/app", "ai_assistant", "gemini", "ai-assistant"),
        ("", "https://copilot.microsoft.com/", "ai_assistant", "copilot", "ai-assistant"),
        ("", "https://not-chatgpt.com/", "referral", "not-chatgpt.com", "referral"),
        ("?utm_source=chatgpt.com", "", "ai_assistant", "chatgpt.com", ""),
        ("?utm_source=google", "", "organic_search", "google", ""),
        ("?utm_source=ig&utm_medium=cpc", "", "paid_social", "ig", "cpc"),
        ("?utm_source=instagram&utm_medium=organic", "", "social", "instagram", "organic"),
        ("?utm_source=facebook&utm_medium=email", "", "email", "facebook", "email"),
        ("?utm_source=dv360&utm_medium=cpm", "", "display", "dv360", "cpm"),
        ("?utm_source=%20%20&utm_medium=+", "", "direct", "direct", "none"),
        ("?utm_source=(direct)&utm_medium=(none)", "", "direct", "(direct)", "(none)"),
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
    assert found.found is (found.source.source != "direct")


@pytest.mark.parametrize(
    ("query", "channel", "source", "medium", "kept"),
    [
        ("?li_fat_id=Ab-1", "paid_social", "linkedin", "paid_social", {"li_fat_id": "Ab-1"}),
        ("?twclid=2-abc", "paid_social", "x", "paid_social", {"twclid": "2-abc"}),
        ("?rdt_cid=123", "paid_social", "reddit", "paid_social", {"rdt_cid": "123"}),
        ("?epik=dj0yJ", "paid_social", "pinterest", "paid_social", {"epik": "dj0yJ"}),
        ("?ScCid=7B3a", "paid_social", "snapchat", "paid_social", {"sccid": "7B3a"}),
        ("?sccid=7B3a", "paid_social", "snapchat", "paid_social", {"sccid": "7B3a"}),
        ("?dclid=CJKu8", "display", "google", "cpm", {"dclid": "CJKu8"}),
        ("?gclid=x&dclid=y", "paid_search", "google", "cpc", {"gclid": "x", "dclid": "y"}),
        ("?qclid=1", "paid_social", "quora", "paid_social", {"qclid": "1"}),
        ("?ndclid=1", "paid_social", "nextdoor", "paid_social", {"ndclid": "1"}),
        ("?rb_clickid=1", "paid_social", "vk", "paid_social", {"rb_clickid": "1"}),
        ("?ymclid=1", "paid_search", "yandex", "cpc", {"ymclid": "1"}),
        ("?yclid=12345678901234567890", "paid_search", "yandex", "cpc", {"yclid": "12345678901234567890"}),
        ("?yclid=YSS.1000.EAIa", "paid_search", "yahoo", "cpc", {"yclid": "YSS.1000.EAIa"}),
        ("?yclid=YJAD.1234567890.1EAL", "paid_search", "yahoo", "cpc", {"yclid": "YJAD.1234567890.1EAL"}),
        ("?bd_vid=1", "paid_search", "baidu", "cpc", {"bd_vid": "1"}),
        ("?NaPm=ct%3Dhf2b%7Ctr%3Dsa", "paid_search", "naver", "cpc", {"napm": "ct=hf2b|tr=sa"}),
        ("?tblci=GiA1", "display", "taboola", "display", {"tblci": "GiA1"}),
        ("?dicbo=v2-1", "display", "outbrain", "display", {"dicbo": "v2-1"}),
        ("?irclickid=1", "affiliate", "impact", "affiliate", {"irclickid": "1"}),
        ("?awc=1_2_a", "affiliate", "awin", "affiliate", {"awc": "1_2_a"}),
        ("?cjevent=1&fbclid=2", "affiliate", "cj", "affiliate", {"cjevent": "1", "fbclid": "2"}),
        ("?li_fat_id=-", "paid_social", "linkedin", "paid_social", {}),
        ("?utm_source=partner&utm_medium=email&epik=1", "email", "partner", "email", {"epik": "1"}),
        ("#gclid=x", "paid_search", "google", "cpc", {"gclid": "x"}),
        ("#/landing?gclid=x", "paid_search", "google", "cpc", {"gclid": "x"}),
        ("#!/landing?ScCid=x", "paid_social", "snapchat", "paid_social", {"sccid": "x"}),
        ("?fbclid=x#utm_source=fb&utm_medium=paid_social", "paid_social", "fb", "paid_social", {"fbclid": "x"}),
        ("?gad_source=1&gad_campaignid=21234567890", "paid_search", "google", "cpc", {}),
        ("?gad_campaignid=21234567890", "paid_search", "google", "cpc", {}),
        ("?gad_source=5", "paid_search", "google", "cpc", {}),
        ("?gad_source=1&gclid=x", "paid_search", "google", "cpc", {"gclid": "x"}),
        ("?utm_source=mail&utm_medium=email&gad_source=1", "email", "mail", "email", {}),
        ("?n_ad=nad-1&n_query=%EC%B0%BD%EB%AC%B8", "paid_search", "naver", "cpc", {}),
        ("?srsltid=x", "organic_search", "google", "organic", {}),
        ("?ysclid=x", "organic_search", "yandex", "organic", {}),
        ("?igshid=x", "social", "instagram", "social", {}),
        ("?igsh=x", "social", "instagram", "social", {}),
        ("?mc_eid=x&mc_cid=y", "email", "mailchimp", "email", {}),
        ("?_hsenc=x&_hsmi=1", "email", "hubspot", "email", {}),
        ("?_kx=x", "email", "klaviyo", "email", {}),
        ("?mkt_tok=x", "email", "marketo", "email", {}),
        ("?srsltid=x&gclid=y", "paid_search", "google", "cpc", {"gclid": "y"}),
    ],
)
@pytest.mark.parametrize("referrer", ["", "https://www.shop.example/", "https://www.paypal.com/"])
def test_click_ids_and_other_signs_tell_the_network_where_the_referrer_says_nothing(
    query: str, referrer: str, channel: str, source: str, medium: str, kept: dict[str, str]
) -> None:
    found = evidence(query, referrer)
    assert (found.source.channel, found.source.source, found.source.medium) == (channel, source, medium)
    assert (found.found, found.click_ids) == (True, kept)


@pytest.mark.parametrize(
    ("query", "referrer", "source", "medium"),
    [
        ("?gad_source=1&gad_campaignid=21234567890", "https://www.google.com/", "google", "cpc"),
        ("?gad_source=2", "https://www.youtube.com/", "google", "cpc"),
        ("?srsltid=x", "https://www.google.de/", "google", "organic"),
        ("?srsltid=x", "https://www.bing.com/", "bing", "organic"),
        ("?ysclid=x", "https://ya.ru/", "yandex", "organic"),
        ("?igsh=x", "https://l.instagram.com/", "instagram", "social"),
        ("?mc_cid=x", "https://mail.google.com/", "mailchimp", "email"),
        ("?mc_cid=x", "https://blog.partner.example/", "blog.partner.example", "referral"),
        ("?yclid=-", "", "yandex", "cpc"),
        ("", "https://search.google.com/", "google", "organic"),
        ("", "https://search.google.com/local/reviews?q=1", "google", "organic"),
        ("", "https://encrypted.google.com/", "google", "organic"),
        ("", "https://lens.google.com/", "google", "organic"),
        ("", "https://news.google.com/", "news.google.com", "referral"),
        ("", "https://www.googleadservices.com/pagead/aclk?sa=L", "google", "cpc"),
        ("", "https://googleads.g.doubleclick.net/", "google", "cpc"),
        ("", "https://ad.doubleclick.net/", "google", "cpc"),
        ("", "https://tpc.googlesyndication.com/", "google", "cpc"),
        ("", "https://safeframe.googlesyndication.com/", "google", "cpc"),
        ("", "https://adservice.google.com/", "google", "cpc"),
        ("", "https://adservice.google.de/", "google", "cpc"),
        ("", "https://adservice.google.co.uk/", "google", "cpc"),
        ("", "https://adservice.google.example.com/", "adservice.google.example.com", "referral"),
        ("", "https://syndicatedsearch.goog/", "google", "cpc"),
        ("", "https://notdoubleclick.net/", "notdoubleclick.net", "referral"),
        ("", "https://yabs.yandex.ru/count/x", "yandex", "cpc"),
        ("", "https://an.yandex.ru/", "yandex", "cpc"),
        ("", "https://yabs.yandex.by/", "yandex", "cpc"),
        ("", "https://m.ad.search.naver.com/", "naver", "cpc"),
        ("", "https://r.msn.com/", "bing", "cpc"),
        ("", "https://rd.listing.yahoo.co.jp/", "yahoo", "cpc"),
        ("", "https://cpro.baidu.com/", "baidu", "cpc"),
        ("", "https://an.facebook.com/", "facebook", "cpc"),
        ("", "https://trc.taboola.com/", "taboola", "display"),
        ("", "https://aax-eu.amazon-adsystem.com/", "amazon", "display"),
        ("?_openstat=direct.yandex.ru;123;45;yandex.ru:premium", "", "yandex", "cpc"),
        ("?_openstat=ZGlyZWN0LnlhbmRleC5ydTsxMjM7NDU7eWFuZGV4LnJ1OnByZW1pdW0", "https://yandex.ru/", "yandex", "cpc"),
        ("?_openstat=begun.ru;7;8;9", "", "begun.ru", "cpc"),
        ("?_openstat=junk", "https://www.bing.com/", "bing", "organic"),
        ("?_openstat=;;;", "", "direct", "none"),
    ],
)
def test_the_referrer_knows_better_than_signs_that_nobody_pays_for_and_less_than_those_of_an_advertisement(
    query: str, referrer: str, source: str, medium: str
) -> None:
    found = evidence(query, referrer).source
    assert (found.source, found.medium) == (source, medium)


def test_an_openstat_label_names_campaign_and_advertisement() -> None:
    for label in ("direct.yandex.ru;123;45;x", "ZGlyZWN0LnlhbmRleC5ydTsxMjM7NDU7eA=="):
        found = evidence(f"?_openstat={label}").source
        assert (found.channel, found.campaign, found.content) == ("paid_search", "123", "45")


def test_a_withheld_yclid_is_yahoo_japans_in_japan() -> None:
    assert evidence("?yclid=-", country="JP").source.source == "yahoo"
    assert evidence("?yclid=-", country="RU").source.source == "yandex"


@pytest.mark.parametrize(
    ("query", "campaign"),
    [
        ("#utm_source=facebook&utm_campaign=spring", "spring"),
        ("#/?utm_source=facebook&utm_campaign=spring", "spring"),
        ("#/prices?a=1&utm_campaign=spring&utm_source=facebook", "spring"),
        ("#!/prices?utm_source=facebook&utm_campaign=spring", "spring"),
        ("#!utm_source=facebook&utm_campaign=spring", "spring"),
        ("#prices&utm_source=facebook&utm_campaign=spring", "spring"),
        ("?size=7#utm_source=facebook&utm_campaign=spring", "spring"),
        ("?utm_term=x#utm_source=facebook&utm_campaign=spring", "spring"),
        ("?utm_source=facebook&utm_campaign=autumn#utm_source=x&utm_campaign=spring", "autumn"),
        ("?utm_source=facebook&utm_medium=y#utm_campaign=spring", ""),
        ("?utm_source=facebook#gclid=x", ""),
        ("#utm_source=facebook&utm_campaign=%EE%EA%ED%E0", "окна"),
    ],
)
def test_the_fragment_counts_when_the_query_has_no_campaign(query: str, campaign: str) -> None:
    found = evidence(query)
    assert (found.source.source, found.source.campaign, found.click_ids) == ("facebook", campaign, {})


def test_an_anchor_is_no_campaign() -> None:
    for anchor in ("#", "#prices", "#!", "#/prices", "#a=b", "#access_token=x&token_type=bearer", "#_=_"):
        assert evidence(anchor).source == DIRECT


def test_old_encodings_are_read_in_every_part_of_a_campaign() -> None:
    old = "&".join(f"utm_{part}=%EE%EA%ED%E0+{part}" for part in ("source", "medium", "campaign", "term", "content"))
    found = evidence("?" + old).source
    assert [found.source, found.medium, found.campaign, found.term, found.content] == [
        f"окна {part}" for part in ("source", "medium", "campaign", "term", "content")
    ]
    assert (
        evidence("?utm_source=a&utm_campaign=%EE%EA%ED%E0").source.key
        != evidence("?utm_source=a&utm_campaign=%E4%E2%E5%F0%FC").source.key
    )
    assert (
        evidence("?utm_source=a&utm_campaign=%EE%EA%ED%E0").source.key
        == evidence("?utm_source=a&utm_campaign=окна").source.key
    )


def test_each_name_stands_in_one_list_and_is_written_as_it_is_compared() -> None:
    names = [*CLICK_IDS, *AD_SIGNS, *FREE_SIGNS]
    assert len(set(names)) == len(names)
    assert all(name == name.casefold().strip() for name in names)
    for source, medium in [*CLICK_IDS.values(), *AD_SIGNS.values(), *FREE_SIGNS.values(), *ADVERTISERS.values()]:
        assert channel_of(source, medium) != "other", (source, medium)


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


LISTS = [SEARCH_ENGINES, SOCIAL_NETWORKS, AI_ASSISTANTS]


@pytest.mark.parametrize("hosts", LISTS)
def test_a_host_is_owned_with_its_sub_domains_and_never_by_a_part_of_its_name(hosts: Owners) -> None:
    for host, name in hosts.items():
        assert owner_of(host, hosts) == owner_of(f"www.{host}", hosts) == (name or None)
        assert owner_of(f"not-{host}", hosts) != name or owner_of(f"not-{host}", {host: name}) is None
        assert owner_of(f"{host}.evil.example", hosts) is None


HOSTS = st.sampled_from([host for hosts in LISTS for host in hosts] + ["google.com", "google.co.uk", "yandex.ru"])
PART = st.from_regex(r"[a-z0-9-]{1,8}", fullmatch=True)


@given(HOSTS, PART, st.sampled_from(["before", "behind", "above"]))
def test_no_longer_host_name_is_taken_for_a_known_one(host: str, part: str, where: str) -> None:
    name = {"before": part + host, "behind": host + part, "above": f"{host}.{part}.example"}[where]
    ends = {name.split(".", i)[-1] for i in range(name.count("."))}
    known = any(end in hosts for end in ends for hosts in LISTS) or any(
        label in NATIONAL_ENGINES for label in name.split(".")
    )
    source = evidence("", f"https://{name}/").source
    assert known or (source.channel, source.source) == ("referral", name.removeprefix("www."))


NAMES = sorted({name for hosts in LISTS for name in hosts.values() if name} | set(SHORT_NAMES) | set(NATIONAL_ENGINES))


@given(st.sampled_from(NAMES), PART, st.booleans(), st.sampled_from(["", "referral"]))
def test_no_longer_word_is_taken_for_a_known_source(name: str, part: str, before: bool, medium: str) -> None:
    word = f"{part}-{name}" if before else f"{name}-{part}"
    if not any(owner_of(word, hosts) for hosts in LISTS):
        assert channel_of(word, medium) == (medium or "other")
    assert channel_of(name.upper(), medium) in ("social", "organic_search", "ai_assistant")


ANY_TEXT = st.text(st.characters(codec=None))


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_no_text_at_all_breaks_the_classification(page: str, referrer: str, value: str) -> None:
    for sent, came in (
        (page, referrer),
        (f"https://shop.example/?utm_source={page}&utm_medium={value}", f"https://{referrer}/"),
    ):
        found = read_evidence(sent, came, {"gclid": value}, lambda host: is_own_host(SITE, host, "shop.example"))
        assert found.source.channel
        assert isinstance(found.source.key, int)
    assert channel_of(page, value)


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
