"""The parameters of an address: in its query, in its fragment, and in whatever encoding an old page or an advertising system wrote them."""

from urllib.parse import quote, quote_from_bytes, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from router.attribution.tracking.parameters import CODE_PAGES, decode, read_parameters


@pytest.mark.parametrize(
    ("text", "code_page", "country"),
    [
        ("окна", "cp1251", "DE"), ("окна", "cp1251", ""), ("ОКНА", "cp1251", "US"), ("МОЁ ОКНО", "cp1251", "RU"),
        ("в окне", "cp1251", "DE"), ("весна 2026", "cp1251", "FR"), ("okna_москва", "cp1251", "DE"), ("iPhoneЧехол", "cp1251", "DE"),
        ("вікна, їжа", "cp1251", "UA"), ("прозорци", "cp1251", "BG"), ("прозори", "cp1251", "RS"), ("двери-купе|Минск", "cp1251", "BY"),
        ("остекление", "cp1251", "PL"), ("café", "cp1252", "FR"), ("café", "cp1252", "RU"), ("München", "cp1252", "RU"),
        ("Übergröße", "cp1252", "DE"), ("promoção de verão", "cp1252", "BR"), ("à la carte", "cp1252", "FR"), ("mañana", "cp1252", ""),
        ("smørrebrød – 50 €", "cp1252", "DK"), ("zimní pneu", "cp1250", "CZ"), ("Łódź", "cp1250", "PL"), ("żółty", "cp1250", "PL"),
        ("őszi akció", "cp1250", "HU"), ("kışlık lastik", "cp1254", "TR"), ("ąžuolas", "cp1257", "LT"), ("παράθυρα", "cp1253", "GR"),
        ("חלונות", "cp1255", "IL"), ("نوافذ", "cp1256", "EG"), ("หน้าต่าง", "cp874", "TH"), ("東京の窓", "cp932", "JP"),
        ("窗户 北京", "gb18030", "CN"), ("窗戶", "big5hkscs", "TW"), ("창문", "cp949", "KR"), ("café", "cp1252", "JP"),
    ],
)  # fmt: skip
def test_what_is_no_utf8_is_read_in_the_code_page_that_its_bytes_fit(text: str, code_page: str, country: str) -> None:
    assert decode(quote_from_bytes(text.encode(code_page)), country) == text
    assert decode(quote(text), country) == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("%EE%EA%ED%E0", "окна"), ("%ee%ea%ed%e0", "окна"), ("a+b%2Bc", "a b+c"), ("+", " "), ("", ""),
        ("%25EE%25EA%25ED%25E0", "окна"), ("%25D0%25BE%25D0%25BA%25D0%25BD%25D0%25B0", "окна"), ("%2525D0%2525BE%2525D0%2525BA", "ок"),
        ("spring%2520sale", "spring sale"), ("a%252Bb", "a+b"), ("100%25", "100%"), ("100%", "100%"), ("50%25ab+heute", "50%ab heute"),
        ("%", "%"), ("%%", "%%"), ("%zz", "%zz"), ("%4", "%4"), ("%00a", "a"),
        ("%D0%BE%D0%BA%D0%BD%D0%B0_%EC%EE%F1%EA%E2%E0", "окна_москва"), ("%D0%BE%D0%BA%ED%E0", "окна"), ("caf%C3%A9+%E9t%E9", "café été"),
        ("caf%C3%A9_%E9", "café_é"), ("%D0%BE%D0%BA+Spa%DF", "ок Spaß"), ("caf%C3%A9_caf%C3", "café_caf"),
        ("окна_%EC%EE%F1%EA%E2%E0", "окна_москва"),
        ("%D0%BE%D0%BA%D0%BD%D0", "окн"), ("%D0%BE%D0%BA%D0%BD%D", "окн"), ("%D0%BE%D0%BA%D0%BD%", "окн"), ("%E7%AA%97%E6%88", "窗"),
        ("%u043E%u043A%u043D%u0430", "окна"), ("caf%E9%20%u20AC", "café €"), ("%uD83D%uDE00", "😀"), ("%uD83D", "�"), ("%u12", "%u12"),
        ("%81", "%81"), ("%EE%98", "о%98"),
    ],
)  # fmt: skip
def test_values_are_read_as_they_come_mixed_cut_and_encoded_over_and_over(raw: str, text: str) -> None:
    assert decode(raw, "DE") == text


ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0%"), max_size=60)
COUNTRIES = st.sampled_from(["", "DE", "FR", "US", *CODE_PAGES])


@given(
    ANY,
    COUNTRIES,
    st.sampled_from([quote, quote_plus, lambda text: quote(text, safe=""), lambda text: quote(quote(text))]),
)
def test_no_value_in_utf8_is_ever_lost(text: str, country: str, coded: object) -> None:
    assert callable(coded)
    assert decode(coded(text), country) == text


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40), COUNTRIES)
def test_a_percent_sign_is_one_where_nothing_is_encoded_twice(text: str, country: str) -> None:
    assume(
        not any(
            text[at + 1 : at + 3].isalnum() and len(text[at + 1 : at + 3]) == 2
            for at in range(len(text))
            if text[at] == "%"
        )
    )
    assert decode(quote(text, safe=""), country) == text


RUSSIAN = st.text("абвгдежзийклмнопрстуфхцчшщъыьэюяАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЭЮЯ", min_size=2, max_size=20)
LATIN = st.sampled_from(["DE", "FR", "ES", "US", "DK", ""])


@given(st.lists(RUSSIAN, min_size=1, max_size=4), LATIN | st.sampled_from(["RU", "BG", "UA"]))
def test_russian_words_in_windows_1251_are_read_whatever_the_country(words: list[str], country: str) -> None:
    assert decode("+".join(quote_from_bytes(word.encode("cp1251")) for word in words), country) == " ".join(words)


@given(st.text("abcxyz", min_size=1), st.sampled_from("äöüßéèàçñøåÄÖÜÉ"), st.text("abcxyz"), LATIN | st.just("RU"))
def test_an_accent_in_a_latin_word_is_latin_whatever_the_country(
    begin: str, accent: str, end: str, country: str
) -> None:
    word = begin + accent + end
    assert decode(quote_from_bytes(word.encode("cp1252")), country) == word


@given(st.binary(max_size=200), COUNTRIES)
def test_different_bytes_never_become_one_campaign_by_being_unreadable(raw: bytes, country: str) -> None:
    assert "�" not in decode(quote_from_bytes(raw), country) or "�".encode() in raw


@given(st.text(), st.text(st.characters(codec=None)), COUNTRIES)
def test_no_string_crashes_the_reader(address: str, value: str, country: str) -> None:
    for text in (
        address,
        value,
        f"https://shop.example/?{address}#{value}",
        f"https://shop.example/?a={value}#?b={address}",
    ):
        for parameters in read_parameters(text):
            assert len(parameters) <= 200
            assert all(isinstance(decode(raw, country), str) for raw in parameters.values())
    assert isinstance(decode(value, country), str)


@pytest.mark.parametrize(
    ("address", "query", "fragment"),
    [
        ("https://shop.example/?a=1&b=2#c=3", {"a": "1", "b": "2"}, {"c": "3"}),
        ("https://shop.example/#/landing?gclid=x&a=1", {}, {"gclid": "x", "a": "1"}),
        ("https://shop.example/#!/landing?gclid=x", {}, {"gclid": "x"}),
        ("https://shop.example/#!gclid=x", {}, {"gclid": "x"}),
        ("https://shop.example/#/gclid=x", {}, {"gclid": "x"}),
        ("https://shop.example/#?gclid=x", {}, {"gclid": "x"}),
        ("https://shop.example/#part&gclid=x", {}, {"gclid": "x"}),
        ("https://shop.example/#part#gclid=x", {}, {"gclid": "x"}),
        ("https://shop.example/?a=1&amp;UTM_Source=x&%75tm_medium=y", {"a": "1", "utm_source": "x", "utm_medium": "y"}, {}),
        ("https://shop.example/?a=1&a=2&b=&c&=d", {"a": "1", "": "d"}, {}),
        ("https://shop.example/?next=/a?b=1#part", {"next": "/a?b=1"}, {}),
        ("no address", {}, {}),
    ],
)  # fmt: skip
def test_parameters_stand_in_the_query_and_in_the_fragment(
    address: str, query: dict[str, str], fragment: dict[str, str]
) -> None:
    assert read_parameters(address) == (query, fragment)
