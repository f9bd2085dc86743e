"""The shop over HTTP against the simulated carrier: every outcome of a request."""

import json
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import astuple, is_dataclass
from pathlib import Path

import phonenumbers
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.carriers.base import Gone, NotForUs, OutcomeUnknown, ShopError, TryLater
from router.carriers.simulator.stage import split_overrides
from router.carriers.twilio.rest import TwilioShop
from router.carriers.twilio.twiml import CALLBACK, STEERING
from tests.carriers.rest import VOICE, Carrier, hasty_shop, make_shop, running_carrier
from tests.carriers.rest_faults import ALL_KINDS, Fault
from tests.properties import examples
from tests.waiting import eventually, ticking

NUMBER = "+12015550001"
OTHER = "+12015550002"
LONG = 300.0
"""Seconds that a late answer takes: nobody waits for it."""
NAMES = [
    "code",
    "message",
    "sid",
    "phone_number",
    "friendly_name",
    "locality",
    "price_unit",
    "number_type",
    "current_price",
]
NAMES += ["country_code", "countries", "incoming_phone_numbers", "available_phone_numbers", "phone_number_prices"]
NAMES += ["next_page_uri"]


@pytest.fixture
def carrier(tmp_path: Path) -> Iterator[Carrier]:
    with running_carrier(tmp_path) as running:
        yield running


def test_r5_a_bought_number_is_ours_with_its_label_and_points_to_this_server(carrier: Carrier) -> None:
    owned = carrier.shop.buy(NUMBER, "ct:7")
    assert (owned.e164, owned.label) == (NUMBER, "ct:7")
    kept = carrier.account.find(owned.sid)
    assert kept is not None
    assert kept["voice_url"] == f"{VOICE}/voice/inbound#ct=1000&rt=3500&rc=2&rp=all"
    assert kept["voice_fallback_url"] == f"{VOICE}/voice/fallback#ct=1000&rt=3500&rc=2&rp=all"
    assert kept["status_callback"].startswith(f"{VOICE}/voice/status")
    assert kept["voice_method"] == kept["status_callback_method"] == "POST"
    assert carrier.shop.find(NUMBER) == owned
    assert carrier.shop.owned() == [owned]
    assert carrier.bought() == {NUMBER: 1}


@pytest.mark.parametrize("country", ["US", "CA", "GB", "DE", "FR", "IT", "ES", "BR", "JP", "RU"])
def test_r5_a_search_offers_valid_numbers_of_the_country_with_the_carriers_price(
    carrier: Carrier, country: str
) -> None:
    offers = carrier.shop.search(country, limit=5)
    assert len(offers) == 5
    for offer in offers:
        assert phonenumbers.is_valid_number_for_region(phonenumbers.parse(offer.e164), country)
        assert offer.kind == "local"
        assert offer.price is not None
        assert (offer.price.currency, offer.price.period) == ("USD", "month")


@pytest.mark.parametrize(
    ("country", "area_code", "contains"),
    [
        ("US", "415", ""),
        ("US", "415", "77"),
        ("US", "4152", ""),
        ("DE", "030", ""),
        ("DE", "30", "77"),
        ("GB", "20", "8"),
        ("IT", "06", ""),
    ],
)
def test_r5_a_search_keeps_to_area_code_and_digits(
    carrier: Carrier, country: str, area_code: str, contains: str
) -> None:
    offers = carrier.shop.search(country, area_code, contains, limit=4)
    begins = area_code.removeprefix("0") if country == "DE" else area_code
    assert offers
    for offer in offers:
        assert phonenumbers.national_significant_number(phonenumbers.parse(offer.e164)).startswith(begins)
        assert contains in offer.e164


def test_r5_toll_free_numbers_are_found_by_their_area_code(carrier: Carrier) -> None:
    (offer, *_) = carrier.shop.search("US", "800", limit=2)
    assert offer.kind == "toll-free"
    assert offer.price is not None
    assert offer.price.amount == "2.15"


def test_r5_a_number_that_somebody_owns_is_not_offered(carrier: Carrier) -> None:
    first, second = carrier.shop.search("US", limit=2)
    carrier.shop.buy(first.e164, "ct:1")
    carrier.account.give_to_somebody_else(second.e164)
    assert not {first.e164, second.e164} & {offer.e164 for offer in carrier.shop.search("US", limit=5)}


def test_r5_numbers_are_offered_without_a_price_when_the_carrier_does_not_tell_it(carrier: Carrier) -> None:
    carrier.faults.queue("price", Fault.broken(done=False))
    assert carrier.shop.search("US", limit=1)[0].price is None


def test_r5_a_country_that_is_none_is_refused_before_anything_is_asked(carrier: Carrier) -> None:
    with pytest.raises(NotForUs):
        carrier.shop.search("../XX")
    assert carrier.faults.asked == []


def test_r5_there_are_many_countries(carrier: Carrier) -> None:
    assert {"US", "DE", "JP"} < set(carrier.shop.countries())


def test_r5_the_carriers_price_of_a_country(carrier: Carrier) -> None:
    price = carrier.shop.price("US")
    assert price is not None
    assert (price.amount, price.currency, price.period) == ("1.15", "USD", "month")
    assert carrier.shop.price("XX") is None


def buying(carrier: Carrier, shop: TwilioShop | None = None) -> object:
    return (shop or carrier.shop).buy(NUMBER, "ct:1")


def shop_for(carrier: Carrier, fault: Fault) -> TwilioShop:
    """One that gives up in time what never comes, and waits for all else as long as it takes."""
    if fault.what == "drip":
        return make_shop(carrier.url, 10, clock=ticking())
    return hasty_shop(carrier.url) if fault.what == "late" else carrier.shop


@pytest.mark.parametrize(
    ("fault", "outcome", "bought"),
    [
        (Fault.late(LONG), OutcomeUnknown, 1),
        (Fault.late(LONG, done=False), OutcomeUnknown, 0),
        (Fault.dead(done=True), OutcomeUnknown, 1),
        (Fault.dead(done=False), OutcomeUnknown, 0),
        (Fault.broken(done=True), OutcomeUnknown, 1),
        (Fault.broken(done=False, status=503), OutcomeUnknown, 0),
        (Fault.html(done=True), OutcomeUnknown, 1),
        (Fault.html(done=False, status=404), OutcomeUnknown, 0),
        (Fault.html(done=False, status=302), OutcomeUnknown, 0),
        (Fault.cut(), OutcomeUnknown, 1),
        (Fault.drips(0.05), OutcomeUnknown, 1),
        (Fault.too_many("3"), TryLater, 0),
        (Fault.says_taken(), Gone, 1),
        (Fault.refuses(21421), NotForUs, 0),
        (Fault.refuses(21631), NotForUs, 0),
        (Fault.refuses(21649), NotForUs, 0),
        (Fault.refuses(20003, status=401), NotForUs, 0),
        (Fault.refuses(99999), NotForUs, 0),
    ],
)
def test_r5_how_a_purchase_may_end(carrier: Carrier, fault: Fault, outcome: type[ShopError], bought: int) -> None:
    carrier.faults.queue("buy", fault)
    began = time.monotonic()
    with pytest.raises(outcome) as raised:
        buying(carrier, shop_for(carrier, fault))
    assert type(raised.value) is outcome
    assert time.monotonic() - began < LONG / 2, "no answer may hold the caller"
    eventually(lambda: carrier.faults.asked)
    assert [kind for kind, _ in carrier.faults.asked] == ["buy"], "nothing is repeated"
    eventually(lambda: carrier.bought().get(NUMBER, 0) == bought)


def test_r5_the_carrier_says_when_to_come_again(carrier: Carrier) -> None:
    carrier.faults.queue("buy", Fault.too_many("7"))
    with pytest.raises(TryLater) as raised:
        buying(carrier)
    assert raised.value.seconds == 7


def test_r5_a_number_of_somebody_else_is_gone(carrier: Carrier) -> None:
    carrier.account.give_to_somebody_else(NUMBER)
    with pytest.raises(Gone):
        buying(carrier)
    carrier.shop.buy(OTHER, "ct:2")
    with pytest.raises(Gone):
        carrier.shop.buy(OTHER, "ct:3")
    assert carrier.bought() == {OTHER: 1}


def test_r5_what_an_operator_has_to_do_is_said(carrier: Carrier) -> None:
    stranger = make_shop(carrier.url, token="another-token")
    with pytest.raises(NotForUs, match="TWILIO_AUTH_TOKEN"):
        stranger.owned()
    carrier.faults.queue("buy", Fault.refuses(21631, "Phone number requires an address"))
    with pytest.raises(NotForUs, match=r"wants an address.*21631 Phone number requires"):
        buying(carrier)


def test_r5_nobody_at_the_address_means_that_nothing_was_done() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        shop = make_shop(f"http://127.0.0.1:{closed.getsockname()[1]}")
        for ask in (lambda: shop.buy(NUMBER, "ct:1"), lambda: shop.find(NUMBER), lambda: shop.release("PN1")):
            with pytest.raises(TryLater):
                ask()


@pytest.mark.parametrize(
    "fault",
    [
        Fault.late(LONG),
        Fault.dead(done=True),
        Fault.broken(done=False),
        Fault.html(done=True),
        Fault.cut(),
        Fault.too_many(),
    ],
)
@pytest.mark.parametrize("kind", ["list", "search", "countries"])
def test_r5_a_question_without_a_good_answer_is_asked_again_later(carrier: Carrier, fault: Fault, kind: str) -> None:
    carrier.shop.buy(NUMBER, "ct:1")
    shop = shop_for(carrier, fault)
    ask = {"list": lambda: shop.find(NUMBER), "search": lambda: shop.search("US")}
    carrier.faults.queue(kind, fault)
    with pytest.raises(TryLater):
        ask.get(kind, shop.countries)()


def test_r5_a_number_is_looked_up_exactly(carrier: Carrier) -> None:
    """Twilio's own filter finds every number that contains the digits."""
    carrier.shop.buy(NUMBER, "ct:1")
    assert carrier.shop.find(NUMBER[:-1]) is None
    assert carrier.shop.find(NUMBER) is not None


def test_r5_a_lying_list_omits_a_number_for_a_while(carrier: Carrier) -> None:
    carrier.shop.buy(NUMBER, "ct:1")
    carrier.faults.queue("list", Fault.omits(NUMBER), times=2)
    assert [carrier.shop.find(NUMBER) is None for _ in range(3)] == [True, True, False]


def test_r5_a_number_is_given_back_and_giving_it_back_again_is_a_success(carrier: Carrier) -> None:
    owned = carrier.shop.buy(NUMBER, "ct:1")
    carrier.shop.release(owned.sid)
    carrier.shop.release(owned.sid)
    assert carrier.shop.find(NUMBER) is None
    assert [event.what for event in carrier.account.history()] == ["bought", "released"]


@pytest.mark.parametrize(
    ("fault", "outcome", "released"),
    [
        (Fault.html(done=False), OutcomeUnknown, 0),
        (Fault.html(done=False, status=404), OutcomeUnknown, 0),
        (Fault.broken(done=True), OutcomeUnknown, 1),
        (Fault.dead(done=True), OutcomeUnknown, 1),
        (Fault.late(LONG), OutcomeUnknown, 1),
        (Fault.too_many(), TryLater, 0),
        (Fault.refuses(20003, status=401), NotForUs, 0),
    ],
)
def test_r5_how_giving_back_may_end(carrier: Carrier, fault: Fault, outcome: type[ShopError], released: int) -> None:
    owned = carrier.shop.buy(NUMBER, "ct:1")
    carrier.faults.queue("release", fault)
    with pytest.raises(outcome):
        shop_for(carrier, fault).release(owned.sid)
    eventually(lambda: len(carrier.account.history("released")) == released)


def test_r5_the_voice_addresses_are_set_again(carrier: Carrier) -> None:
    owned = carrier.shop.buy(NUMBER, "ct:1")
    carrier.account.change(owned.sid, {"VoiceUrl": "https://elsewhere.example/"})
    carrier.shop.configure(owned.sid)
    kept = carrier.account.find(owned.sid)
    assert kept is not None
    assert (kept["voice_url"], kept["friendly_name"]) == (f"{VOICE}/voice/inbound#ct=1000&rt=3500&rc=2&rp=all", "ct:1")
    with pytest.raises(Gone):
        carrier.shop.configure("PN0")


def test_r5_a_label_loses_its_control_characters_and_its_end(carrier: Carrier) -> None:
    assert carrier.shop.buy(NUMBER, "ct:1\r\n\x00\x7f\ud800é").label == "ct:1é"
    assert carrier.shop.buy(OTHER, "x" * 90).label == "x" * 64


def test_r5_all_numbers_are_listed_over_many_pages(carrier: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.carriers.twilio.rest.PAGE_SIZE", 2)
    numbers = [f"+1201555000{digit}" for digit in range(5)]
    for number in numbers:
        carrier.shop.buy(number, "ct:1")
    assert sorted(owned.e164 for owned in carrier.shop.owned()) == numbers
    monkeypatch.setattr("router.carriers.twilio.rest.MOST_PAGES", 2)
    with pytest.raises(TryLater, match="does not end"):
        carrier.shop.owned()


def test_the_next_page_is_never_asked_from_somebody_else(carrier: Carrier) -> None:
    for uri in ("//evil.example/", "https://evil.example/", "@evil.example/", ".evil.example/", "/v1/Other", 7):
        body = (
            '{"incoming_phone_numbers": [], "next_page_uri": '
            + (f'"{uri}"' if isinstance(uri, str) else str(uri))
            + "}"
        )
        carrier.faults.queue("list", Fault("answer", status=200, body=body))
        with pytest.raises(TryLater):
            carrier.shop.owned()
    assert len(carrier.faults.asked) == 6


def test_an_answer_of_the_wrong_shape_is_nonsense_and_no_failure_of_ours(carrier: Carrier) -> None:
    for body in (
        "[]",
        "null",
        '"x"',
        '{"sid": 1, "phone_number": 2}',
        '{"sid": "PN1", "phone_number": "+12015550009"}',
    ):
        carrier.faults.queue("buy", Fault("answer", False, status=201, body=body))
        with pytest.raises(OutcomeUnknown):
            buying(carrier)
    carrier.faults.queue("list", Fault("answer", status=200, body='{"incoming_phone_numbers": {"a": 1}}'))
    with pytest.raises(TryLater):
        carrier.shop.owned()
    carrier.faults.queue("list", Fault("answer", status=200, body='{"incoming_phone_numbers": [null, {"sid": 4}]}'))
    assert carrier.shop.owned() == []


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([NUMBER, "PN1", 21422, 20404, "US"]),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inside, max_size=6),
    max_leaves=12,
)


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([200, 201, 204, 301, 400, 404, 429, 500]), JUNK.map(json.dumps) | st.text())
def test_r5_whatever_the_carrier_says_only_a_shops_errors_come_up(carrier: Carrier, status: int, body: str) -> None:
    """And nothing that a database could not keep."""
    shop = make_shop(carrier.url)
    for kind in ALL_KINDS:
        carrier.faults.always(kind, Fault("answer", False, status=status, body=body))
    for ask in (
        shop.countries,
        shop.owned,
        lambda: shop.search("US", "415"),
        lambda: shop.price("US"),
        lambda: shop.buy(NUMBER, "ct:1"),
        lambda: shop.find(NUMBER),
        lambda: shop.configure("PN1"),
        lambda: shop.release("PN1"),
        lambda: shop.bundles("US", "local"),
        lambda: shop.find_bundle("BU1"),
        lambda: shop.wants_bundle("US", "local"),
        shop.addresses,
        lambda: shop.find_address("AD1"),
    ):
        try:
            told = list(strings(ask()))
        except ShopError as error:
            told = [str(error)]
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", "".join(told))


def strings(answer: object) -> Iterator[str]:
    if isinstance(answer, str):
        yield answer
    elif isinstance(answer, list):
        for one in answer:
            yield from strings(one)
    elif is_dataclass(answer) and not isinstance(answer, type):
        yield from strings(list(astuple(answer)))


def test_what_the_carrier_has_survives_its_restart(tmp_path: Path) -> None:
    with running_carrier(tmp_path) as carrier:
        owned = carrier.shop.buy(NUMBER, "ct:1")
    with running_carrier(tmp_path) as carrier:
        assert carrier.shop.find(NUMBER) == owned
        with pytest.raises(Gone):
            carrier.shop.buy(NUMBER, "ct:2")
        assert carrier.bought() == {NUMBER: 1}


@pytest.mark.parametrize("fragment", [STEERING, CALLBACK])
def test_r12_all_tries_of_a_request_fit_into_the_time_that_the_carrier_has_for_them(fragment: str) -> None:
    _, overrides = split_overrides(f"{VOICE}/voice/inbound{fragment}")
    assert "all" in overrides.after
    assert overrides.count >= 2
    assert (overrides.count + 1) * (overrides.connect + overrides.read) <= 15
