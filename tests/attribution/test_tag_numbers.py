"""Which numbers of a text the tag replaces, and with what: its own modules, run over tables."""

import random

import pytest

from router.lib.phones import forms, page_rules, spellings
from tests.attribution.tag_modules import Case, compiled, shown
from tests.lib.phones.dialling import REGIONS, numbers_of, reached, ways_to_write
from tests.lib.phones.test_documented import table

BERLIN, FRISCO = "+493090182011", "+14155550123"
CLAIMED = table("| in the element | country | our number | shown |")
IN_TEXT = table("| in the text | replace | country | our number | shown |")


def test_numbers_on_a_page_are_shown_as_documented() -> None:
    cases = [Case(ours, country, text) for text, country, ours, _ in CLAIMED]
    assert [texts[0] for texts in shown(cases)] == [row[3] for row in CLAIMED]
    found = [Case(ours, country, text, (replace,)) for text, replace, country, ours, _ in IN_TEXT]
    assert [texts[0] for texts in shown(found)] == [row[4] for row in IN_TEXT]


def test_r1_in_every_country_what_is_shown_in_the_place_of_a_number_reaches_ours() -> None:
    """And a number that stays has not changed in part."""
    cases: list[tuple[str, Case]] = []
    for region in REGIONS:
        chance = random.Random(region)
        known = numbers_of(region, chance, 3)
        for _ in range(2):
            ours, other = chance.choice(known), chance.choice(known)
            cases += [(region, Case(ours, region, text)) for text in ways_to_write(other, region, chance)]
    missed: list[Case] = []
    for (region, case), (text,) in zip(cases, shown(case for _, case in cases), strict=True):
        if case.e164 not in reached(text, region):
            assert text == case.text
            missed.append(case)
    assert len(cases) > 5000
    assert len([case for case in missed if sum(map(str.isdigit, case.text)) > 8]) < 10, (
        "only short ones are not told from other digits"
    )


STAYS = [
    *(
        "Updated 2026-11-29",
        "29.11.2026",
        "11/29/2026",
        "29/11/26",
        "am 29.11.26",
        "2026-11-29T14:05",
        "29.11.2026 14:05",
    ),
    *("Tax ID 94-1234567", "94110-1234", "(c) 1998-2026", "© 1998 – 2026", "since 1987/2026", "1998-2026"),
    *("$1 299 000", "1.299.000 €", "EUR 1299000", "1 299 000 ₽", "US$ 2,345,678.00", "CHF 1'299'000", "1 299 000 руб."),
    *("Mo–Fr 9.00–18.00 Uhr", "9:00-18:00", "Mon-Fri 9-5", "0900-1800 hrs", "24/7", "Call us 24/7"),
    *(
        "DE89 3704 0044 0532 0130 00",
        "NL91 ABNA 0417 1643 00",
        "GB29 NWBK 6016 1331 9268 19",
        "IBAN: DE89370400440532013000",
    ),
    *("52.520008, 13.404954", "N 52.520008 E 13.404954", "52°31'12.3\" N", "-33.8688, 151.2093"),
    *(
        "Fax 888-442-4552",
        "Telefax: 030 1234567",
        "F: 888-442-4552",
        "F 030 1234567",
        "факс: (495) 123-45-67",
        "e-fax 030 1234567",
    ),
    *(
        "Fax (Berlin): 030 1234567",
        "fax no. 030 1234567",
        "per Fax an 030 1234567",
        "030 1234567 (Fax)",
        "FAX.: +49 30 1234567",
    ),
    *(
        "WhatsApp +49 151 12345678",
        "Viber/WhatsApp: +49 151 12345678",
        "Telegram: 0151 12345678",
        "Signal 0151 12345678",
    ),
    *("Вайбер: 8 (495) 123-45-67", "SMS: 888-442-4552", "0151 12345678 [WhatsApp]"),
    *(
        "USt-IdNr. DE123456789",
        "Steuernummer 12/345/67890",
        "HRB 123456",
        "Kundennummer 0711 123456",
        "Order no. 888-442-4552",
    ),
    *("ИНН 7704951234", "ОГРН 1027700132195", "SIRET 123 456 789 00012", "CNPJ 12.345.678/0001-90", "RUT 76.123.456-7"),
    *(
        "Konto 1234567890",
        "Bestell-Nr. 12345678",
        "invoice #12345678",
        "License # 1012345",
        "#12345678",
        "ISBN 978-3-16-148410-0",
    ),
    *("01067 Dresden", "D-10115 Berlin", "No 12345", "v1.2.3.4", "shop@1234567.example", "x=030123456"),
    *("030 1234567 ext. 5", "888-442-4551 x5", "030 1234567 Durchwahl 5", "8 (495) 123-45-67 доб. 12"),
]


@pytest.mark.parametrize(("e164", "country"), [(BERLIN, "DE"), (FRISCO, "US")])
def test_r1_in_a_claimed_element_what_is_no_telephone_number_stays(e164: str, country: str) -> None:
    """Alone, and beside one that is replaced."""
    number = "0711 123456" if country == "DE" else "(888) 442-4551"
    ours = "030 90182011" if country == "DE" else "(415) 555-0123"
    alone = shown(Case(e164, country, text) for text in STAYS)
    assert [texts[0] for texts in alone] == STAYS
    beside = shown(Case(e164, country, f"{text}, {number}") for text in STAYS)
    assert [texts[0] for texts in beside] == [f"{text}, {ours}" for text in STAYS]


REPLACED = [
    *(
        "Tel. 0711 123456",
        "Tel.: 0711/123456",
        "Telefonnummer 0711 123456",
        "Tel.-Nr. 0711 123456",
        "T 0711 123456",
        "☎ 0711 123456",
    ),
    *(
        "Tel./Fax: 0711 123456",
        "Telefon und Fax 0711 123456",
        "Phone & fax: 0711 123456",
        "Phone / WhatsApp: 0711 123456",
    ),
    *(
        "Fax 030 1234567, Tel. 0711 123456",
        "Bestellhotline 0711 123456",
        "Order by phone: 0711 123456",
        "Kundenservice 0711 123456",
    ),
    *(
        "24/7, 0711 123456",
        "Mo–Fr 9–18: 0711 123456",
        "Signalstraße 5, Tel. 0711 123456",
        "Infos (0711 123456)",
        "0711 123456 Mo-Fr",
    ),
    *(
        "0711\u00a0123\u2009456",
        "0711–123456",
        "0711 · 12 34 56",
        "0711 • 123456",
        "\u200e0711 123456\u200f",
        "0711\u00ad123456",
        "0711\u2011123456",
    ),
]


NO_LABELS = (
    *(
        "Springfield, DC",
        "Springfield, ID",
        "Springfield, WA",
        "Springfield, IN",
        "Main St",
        "Main St.",
        "www.example.org",
    ),
    *(
        "Rufen Sie an",
        "Ruf",
        "Rufnummer",
        "Wing F,",
        "in order",
        "Hot line",
        "Toll free",
        "Phone no.",
        "Kundenservice:",
        "Konto-Hotline",
    ),
    *(
        "Order by phone",
        "Account manager",
        "N° Vert",
        "Teléfono",
        "Заказ по телефону",
        "Text or call",
        "Fax oder Tel.",
        "Tel/Fax-Nr.:",
    ),
    *("Tel. (auch WhatsApp)", "Call or WhatsApp", "T/F:", "Phone & Fax No.", "per WhatsApp, Tel.", "Servicenummer"),
)


def test_r1_in_a_claimed_element_a_telephone_number_is_replaced_whatever_stands_around_it() -> None:
    texts = [f"{label} 0711 123456" for label in NO_LABELS]
    assert [text for (text,) in shown(Case(BERLIN, "DE", text) for text in texts)] == [
        f"{label} 030 90182011" for label in NO_LABELS
    ]
    for case, (text,) in zip(REPLACED, shown(Case(BERLIN, "DE", text) for text in REPLACED), strict=True):
        assert "030 90182011" in text, case
        assert "123456" not in text.replace("1234567", ""), case


SPREAD = [
    ("DE", ("+49 (0)", "711 123456"), ("+49 (0)30", " 90182011")),
    ("DE", ("0711", " / ", "12345678"), ("030 90182011", "", "")),
    ("DE", ("+49 30", " ", "12345678"), ("+49 30", " ", "90182011")),
    ("DE", ("+49", " ", "711 123456"), ("+49", "", " 30 90182011")),
    ("DE", ("Tel ", "0711 1234567", " Fax ", "0711 1234568"), ("Tel ", "0309 0182011", " Fax ", "0711 1234568")),
    ("DE", ("030 7654321", "0151 23460002"), ("030 90182011", "030 90182011")),
    ("DE", ("0711 123456", "70173 Stuttgart"), ("030 90182011", "70173 Stuttgart")),
    ("US", ("888-442-4551", "94110-1234"), ("415-555-0123", "94110-1234")),
    ("US", ("(888)", " 442-4551"), ("(415)", " 555-0123")),
    ("US", ("5", "888-442-4551"), ("5", "415-555-0123")),
]


def test_r1_a_number_that_is_spread_over_elements_is_replaced_as_one() -> None:
    ours = {"DE": BERLIN, "US": FRISCO}
    found = shown(Case(ours[country], country, texts) for country, texts, _ in SPREAD)
    assert found == [after for _, _, after in SPREAD]


HALVES = [
    ("DE", "800 / 12345678901234"),
    ("NG", "+234 (0)800/1759/17292"),
    ("FI", "800 / 1234567"),
    ("US", "888-442 / 4551 / 123"),
]


def test_r1_no_half_of_a_number_is_replaced() -> None:
    ours = {"DE": BERLIN, "NG": "+23412345678", "FI": "+358912345678", "US": FRISCO}
    cases = [Case(ours[country], country, text) for country, text in HALVES]
    for (country, text), (after,) in zip(HALVES, shown(cases), strict=True):
        assert after == text or ours[country] in reached(after, country)


def test_a_named_number_is_found_in_a_text_in_every_spelling_of_it() -> None:
    for country, named, ours in (
        ("DE", "0711/123456", BERLIN),
        ("RU", "8 (495) 123-45-67", "+74997654321"),
        ("IT", "06 1234 5678", "+390698765432"),
    ):
        texts = spellings([named], country)
        for text, (after,) in zip(texts, shown(Case(ours, country, text, (named,)) for text in texts), strict=True):
            assert ours in reached(after, country), text


US, RU, GB = ("(415) 555-2671", "US"), ("8 (495) 123-45-67", "RU"), ("020 7946 0958", "GB")
MOSCOW, LONDON, TALLINN = "+74997654321", "+442079460111", "+3726543210"
KEPT_FORMS = [
    ("415-555-2671", US, FRISCO, "", "415-555-0123"),
    ("(415) 555.2671", US, FRISCO, "", "(415) 555.0123"),
    ("+1 415 555 2671", US, FRISCO, "", "+1 415 555 0123"),
    ("001 415 555 2671", US, FRISCO, "", "001 415 555 0123"),
    ("1-415-555-2671", US, FRISCO, "", "1-415-555-0123"),
    ("415\u00a0555\u20112671", US, FRISCO, "", "415\u00a0555\u20110123"),
    ("8 (495) 123-45-67", RU, MOSCOW, "", "8 (499) 765-43-21"),
    ("+7 (495) 123 45 67", RU, MOSCOW, "", "+7 (499) 765 43 21"),
    ("7 495 123 45 67", RU, MOSCOW, "", "7 499 765 43 21"),
    ("(495) 123-45-67", RU, MOSCOW, "", "(499) 765-43-21"),
    ("84951234567", RU, MOSCOW, "", "84997654321"),
    ("020 7946 0958", GB, LONDON, "", "020 7946 0111"),
    ("+44 (0)20 7946 0958", GB, LONDON, "", "+44 (0)20 7946 0111"),
    ("0044 20 7946 0958", GB, LONDON, "", "0044 20 7946 0111"),
    ("415-555-2671", US, MOSCOW, "", "499-765-4321"),
    ("020 7946 0958", GB, TALLINN, "", "654 3210"),
    ("415-555-2671", US, FRISCO, "+1 (XXX) XXX.XXXX", "+1 (415) 555.0123"),
]


def test_r1_a_number_in_the_text_keeps_its_form() -> None:
    """In a sentence, and alone; of a project without a country."""
    for frame in ("Call {}, or write (free) ", "{}"):
        cases = [
            Case(ours, None, frame.format(before), (named,), spelled_in=country, mask=mask)
            for before, (named, country), ours, mask, _ in KEPT_FORMS
        ]
        for (before, *_, after), (text,) in zip(KEPT_FORMS, shown(cases), strict=True):
            assert text == frame.format(after), before


def test_r1_the_digits_of_arabic_persian_and_japanese_pages_are_digits() -> None:
    cases = [
        (Case("+982112345678", "IR", "تلفن: ۰۲۱-۸۷۶۵۴۳۲۱"), "تلفن: 021-12345678"),
        (Case("+982112345678", "IR", "تلفن: ۰۲۱-۸۷۶۵۴۳۲۱", ("021 8765 4321",)), "تلفن: 021-12345678"),
        (Case("+966112345678", "SA", "هاتف ٠١١ ٩٨٧ ٦٥٤٣"), "هاتف 011 234 5678"),
        (Case("+81312345678", "JP", "電話（０３）９８７６－５４３２"), "電話（03）1234－5678"),
    ]
    assert [texts[0] for texts in shown(case for case, _ in cases)] == [after for _, after in cases]


def test_every_pattern_of_an_answer_is_one_that_browsers_know() -> None:
    """Safari knows lookbehind only since 16.4."""
    patterns: dict[tuple[str, str], None] = {}
    for region in REGIONS:
        rules = page_rules(region)
        patterns |= dict.fromkeys(
            (pattern, "") for pattern, *_ in forms(numbers_of(region, random.Random(0), 0)[0], region)
        )
        patterns |= {(rules["number"], "g"): None, (rules["other"], "giu"): None, (rules["inline"], ""): None}
        patterns |= {(rules[name], "isu"): None for name in ("before", "after")}
    assert not [pattern for pattern, _ in patterns if "(?<" in pattern]
    compiled(patterns)
