"""The simulated carrier's REST side, read by Twilio's own library, shared by processes, and told to misbehave."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from twilio.base.exceptions import TwilioException, TwilioRestException  # type: ignore[import-untyped]  # twilio ships no types

from router.carriers import SIMULATED_ACCOUNT
from router.carriers.base import Compliance, ComplianceMissing, Gone, NotForUs, TryLater
from router.carriers.simulator import Simulator
from router.carriers.simulator.account import Account
from router.carriers.simulator.rest import Rest, RestServer
from router.carriers.simulator.standing import Standing
from tests.carriers.rest import (
    ABROAD,
    BUNDLE,
    HOME,
    OVER,
    REGULATED,
    REVIEWED,
    TOKEN,
    VOICE,
    Carrier,
    library,
    make_shop,
    running_carrier,
    twilio_client,
)
from tests.carriers.rest_faults import Fault, FaultyRest, faulty_server
from tests.carriers.simulator.conftest import Exchanges, TwimlServer, response
from tests.factories import NOON

NUMBER = "+12015550001"


@pytest.fixture
def rest(tmp_path: Path) -> Iterator[tuple[RestServer, FaultyRest]]:
    with faulty_server(tmp_path / "simulator.db", SIMULATED_ACCOUNT, TOKEN) as running:
        yield running


@pytest.fixture
def carrier(tmp_path: Path) -> Iterator[Carrier]:
    with running_carrier(tmp_path) as running:
        yield running


def test_twilios_own_library_finds_and_buys_numbers(carrier: Carrier) -> None:
    twilio = library(carrier)
    (found, second) = twilio.available_phone_numbers("US").local.list(area_code=415, limit=2)
    assert found.phone_number.startswith("+1415")
    assert (found.iso_country, found.address_requirements) == ("US", "none")
    bought = twilio.incoming_phone_numbers.create(
        phone_number=found.phone_number, friendly_name="ct:1", voice_url=f"{VOICE}/voice/inbound"
    )
    assert bought.sid.startswith("PN")
    assert len(bought.sid) == 34
    assert (bought.phone_number, bought.friendly_name, bought.voice_method) == (found.phone_number, "ct:1", "POST")
    assert bought.date_created is not None
    assert twilio.incoming_phone_numbers(bought.sid).fetch().voice_url == f"{VOICE}/voice/inbound"
    assert twilio.incoming_phone_numbers(bought.sid).update(voice_url="").voice_url == ""
    assert carrier.shop.find(found.phone_number) is not None
    assert (
        twilio.available_phone_numbers("US").local.list(area_code=415, limit=1)[0].phone_number == second.phone_number
    )
    assert twilio.incoming_phone_numbers(bought.sid).delete() is True
    with pytest.raises(TwilioRestException) as raised:
        twilio.incoming_phone_numbers(bought.sid).delete()
    assert (raised.value.status, raised.value.code) == (404, 20404)


def test_twilios_own_library_reads_lists_page_by_page_and_prices(carrier: Carrier) -> None:
    for digit in range(5):
        carrier.shop.buy(f"+1201555000{digit}", "ct:1")
    twilio = library(carrier)
    assert len(twilio.incoming_phone_numbers.list(page_size=2, limit=100)) == 5
    assert [one.phone_number for one in twilio.incoming_phone_numbers.list(phone_number="5550003", limit=9)] == [
        "+12015550003"
    ]
    assert len(twilio.available_phone_numbers.list(page_size=100, limit=1000)) > 240
    prices = twilio.pricing.v1.phone_numbers.countries("DE").fetch()
    assert prices.price_unit == "USD"
    assert {one["number_type"] for one in prices.phone_number_prices} == {"local", "mobile", "toll free"}
    mobile = twilio.available_phone_numbers("DE").mobile.list(limit=1)[0].phone_number
    assert phonenumbers.number_type(phonenumbers.parse(mobile)) == phonenumbers.PhoneNumberType.MOBILE


@pytest.mark.parametrize(
    ("number", "more", "code"),
    [
        (NUMBER, {}, 21422),
        ("+1201555", {}, 21421),
        ("hello", {}, 21421),
        ("+12015550002", {"voice_url": "calls.example.net"}, 21402),
        ("+12015550002", {"voice_url": VOICE, "voice_method": "PUT"}, 21403),
        ("+12015550002", {"voice_fallback_url": VOICE}, 21405),
        ("+12015550002", {"friendly_name": "x" * 65}, 20001),
        ("+12015550002", {"friendly_name": "x\x00"}, 20001),
    ],
)
def test_errors_have_twilios_codes(carrier: Carrier, number: str, more: dict[str, str], code: int) -> None:
    carrier.shop.buy(NUMBER, "ct:1")
    with pytest.raises(TwilioRestException) as raised:
        library(carrier).incoming_phone_numbers.create(phone_number=number, **more)
    assert (raised.value.status, raised.value.code) == (400, code)
    assert carrier.bought() == {NUMBER: 1}


def test_a_wrong_token_and_a_kind_that_a_country_has_not_are_refused_as_at_twilio(carrier: Carrier) -> None:
    with pytest.raises(TwilioRestException) as raised:
        library(carrier, "another-token").incoming_phone_numbers.create(phone_number=NUMBER)
    assert (raised.value.status, raised.value.code) == (401, 20003)
    for search in (
        library(carrier).available_phone_numbers("US").mobile,
        library(carrier).available_phone_numbers("XX").local,
    ):
        with pytest.raises(TwilioException) as missing:
            search.list(limit=1)
        assert missing.value.args[1].status_code == 404


def test_twilios_own_library_reads_the_account_its_balance_and_its_permissions(
    rest: tuple[RestServer, FaultyRest],
) -> None:
    server, simulated = rest
    twilio = twilio_client(server.url)
    account = twilio.api.accounts(SIMULATED_ACCOUNT).fetch()
    assert (account.status, account.type, account.auth_token) == ("active", "Full", TOKEN)
    balance = twilio.api.accounts(SIMULATED_ACCOUNT).balance.fetch()
    assert (balance.account_sid, balance.balance, balance.currency) == (SIMULATED_ACCOUNT, "100.00", "USD")
    simulated.standing = Standing("active", "Trial", "-0.5", frozenset({"DE"}))
    assert twilio.api.accounts(SIMULATED_ACCOUNT).fetch().type == "Trial"
    countries = twilio.voice.v1.dialing_permissions.countries.list(page_size=1000, limit=1000)
    assert {one.iso_code for one in countries if not one.low_risk_numbers_enabled} == {"DE"}
    assert next(one.country_codes for one in countries if one.iso_code == "US") == ["+1"]
    simulated.standing.status = "suspended"
    assert twilio.api.accounts(SIMULATED_ACCOUNT).fetch().status == "suspended"
    with pytest.raises(TwilioRestException) as raised:
        twilio.incoming_phone_numbers.create(phone_number=NUMBER)
    assert (raised.value.status, raised.value.code) == (403, 10001)
    assert simulated.account.history() == []


@pytest.mark.parametrize(
    ("required", "code", "words"),
    [("any", 21631, "wants an address for them"), ("local", 21615, "in their area"), ("foreign", 21631, "outside")],
)
def test_numbers_that_need_an_address_are_not_offered_and_not_sold(
    rest: tuple[RestServer, FaultyRest], required: str, code: int, words: str
) -> None:
    """R5: what the carrier would refuse is never ordered, so no money is charged for it."""
    server, simulated = rest
    simulated.standing = Standing(address_requirements={"DE": required})
    shop = make_shop(server.url)
    with pytest.raises(NotForUs, match=f"None of the numbers.*{words}"):
        shop.search("DE", limit=3)
    (offer,) = shop.search("US", limit=1)
    assert shop.buy(offer.e164, "ct:1").e164 == offer.e164
    (german,) = twilio_client(server.url).available_phone_numbers("DE").local.list(limit=1)
    assert german.address_requirements == required
    with pytest.raises(NotForUs, match=str(code)):
        shop.buy(german.phone_number, "ct:2")
    assert simulated.account.taken() == {offer.e164}


def test_twilios_own_library_reads_bundles_regulations_and_addresses_page_by_page(
    rest: tuple[RestServer, FaultyRest],
) -> None:
    server, simulated = rest
    simulated.standing = REGULATED
    twilio = twilio_client(server.url)
    compliance = twilio.numbers.v2.regulatory_compliance
    listed = compliance.bundles.list(iso_country="HU", number_type="local", page_size=1, limit=9)
    assert [(one.sid, one.status) for one in listed] == [
        (BUNDLE, "twilio-approved"),
        (REVIEWED, "in-review"),
        (OVER, "twilio-approved"),
    ]
    assert listed[2].valid_until.year == 2020
    assert [one.sid for one in compliance.bundles.list(status="in-review", limit=9)] == [REVIEWED]
    assert compliance.bundles.list(iso_country="HU", number_type="mobile", limit=9) == []
    assert compliance.bundles(BUNDLE).fetch().friendly_name == "Hungary"
    assert [one.iso_country for one in compliance.regulations.list(number_type="local", limit=9)] == ["BE", "HU"]
    assert compliance.regulations.list(iso_country="US", limit=9) == []
    assert [one.sid for one in twilio.addresses.list(page_size=1, limit=9)] == [HOME, ABROAD]
    assert twilio.addresses(HOME).fetch().city == "Budapest"
    for missing in (compliance.bundles("BU9"), twilio.addresses("AD9")):
        with pytest.raises(TwilioRestException) as raised:
            missing.fetch()
        assert raised.value.code == 20404


@pytest.mark.parametrize(
    ("country", "bundle", "address", "code"),
    [
        ("US", "", "", None),
        ("HU", BUNDLE, HOME, None),
        ("HU", BUNDLE, "", 21615),
        ("HU", BUNDLE, ABROAD, 21615),
        ("HU", BUNDLE, "AD9", 21631),
        ("HU", "", HOME, 21649),
        ("HU", "BU9", HOME, 21649),
        ("HU", REVIEWED, HOME, 21649),
        ("HU", OVER, HOME, 21649),
        ("BE", "", "", 21649),
        ("BE", BUNDLE, "", 21649),
    ],
)
def test_numbers_are_sold_with_a_bundle_and_an_address_that_fit_and_refused_without(
    rest: tuple[RestServer, FaultyRest], country: str, bundle: str, address: str, code: int | None
) -> None:
    server, simulated = rest
    simulated.standing = REGULATED
    twilio = twilio_client(server.url)
    (offer,) = twilio.available_phone_numbers(country).local.list(limit=1)
    chosen = {"bundle_sid": bundle, "address_sid": address}
    asked = {"phone_number": offer.phone_number, **{name: sid for name, sid in chosen.items() if sid}}
    if code is None:
        bought = twilio.incoming_phone_numbers.create(**asked)
        assert (bought.bundle_sid or "", bought.address_sid or "") == (bundle, address)
        return
    with pytest.raises(TwilioRestException) as raised:
        twilio.incoming_phone_numbers.create(**asked)
    assert (raised.value.status, raised.value.code) == (400, code)
    assert simulated.account.taken() == set()


def test_what_is_chosen_makes_numbers_ours_to_buy_and_goes_with_the_order(rest: tuple[RestServer, FaultyRest]) -> None:
    server, simulated = rest
    simulated.standing = REGULATED
    shop = make_shop(server.url)
    with pytest.raises(ComplianceMissing) as raised:
        shop.search("HU", limit=1, chosen={"local": Compliance(BUNDLE, ABROAD, "US")})
    assert (raised.value.country, raised.value.kind) == ("HU", "local")
    chosen = Compliance(BUNDLE, HOME, "HU")
    (offer,) = shop.search("HU", limit=1, chosen={"local": chosen})
    for said, less in (("regulatory bundle.*21649", Compliance("", HOME, "HU")), ("area.*21615", Compliance(BUNDLE))):
        with pytest.raises(NotForUs, match=f"{said}.*"):
            shop.buy(offer.e164, "ct:1", less)
    shop.buy(offer.e164, "ct:1", chosen)
    (number,) = simulated.account.numbers()
    assert (number["bundle_sid"], number["address_sid"]) == (BUNDLE, HOME)
    assert [one.sid for one in shop.bundles("HU", "local") or () if one.is_usable(NOON)] == [BUNDLE]
    assert (shop.wants_bundle("HU", "local"), shop.wants_bundle("US", "local")) == (True, False)
    assert [(one.sid, one.country, one.text) for one in shop.addresses()] == [
        (HOME, "HU", "Alder, Andrássy út 1, 1061 Budapest"),
        (ABROAD, "US", "Alder, 12 Alder Street, 80202 Denver"),
    ]
    found = shop.find_bundle(REVIEWED)
    assert found is not None
    assert (found.status, found.is_usable(NOON)) == ("in review", False)


def test_r5_bundles_are_looked_for_at_their_own_host_alone_and_a_carrier_without_them_is_none(
    rest: tuple[RestServer, FaultyRest],
) -> None:
    """The account's token follows no list to another host."""
    server, simulated = rest
    shop = make_shop(server.url)
    for told in ("http://other.example/v2/RegulatoryCompliance/Bundles?Page=1", "http://[", f"{server.url}/elsewhere"):
        page = json.dumps({"results": [], "meta": {"next_page_url": told}})
        simulated.faults.queue("bundles", Fault("answer", False, status=200, body=page))
        if told.endswith("Page=1"):
            assert shop.bundles("HU", "local") == []
        else:
            with pytest.raises(TryLater):
                shop.bundles("HU", "local")
    for kind in ("bundles", "regulations"):
        simulated.faults.always(kind, Fault.html(done=False, status=404))
    assert shop.bundles("HU", "local") is shop.wants_bundle("HU", "local") is None
    simulated.faults.always("regulations", Fault.broken(done=False))
    with pytest.raises(TryLater):
        shop.wants_bundle("BE", "local")
    assert shop.wants_bundle("BE", "local") is None, "nobody waits for it again at once"


def test_a_fault_of_the_simulators_own_is_told_and_not_hidden_behind_a_closed_connection(
    rest: tuple[RestServer, FaultyRest], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, simulated = rest
    monkeypatch.setattr(simulated, "do", lambda request: 1 // 0)
    with capture_logs() as logged, pytest.raises(TwilioRestException) as raised:
        twilio_client(server.url).api.accounts(SIMULATED_ACCOUNT).fetch()
    assert (raised.value.status, raised.value.code) == (500, 20500)
    assert [entry["event"] for entry in logged] == ["simulated_rest_failed"]


def test_of_offers_only_those_that_can_be_bought_are_shown(rest: tuple[RestServer, FaultyRest]) -> None:
    server, simulated = rest
    good, deaf, bound = (
        {"phone_number": f"+1201555000{digit}", "address_requirements": required, "capabilities": {key: voice}}
        for digit, required, key, voice in (
            (1, "none", "Voice", True),
            (2, "none", "VOICE", False),
            (3, "any", "voice", True),
        )
    )
    for offered, left in (([deaf, good, bound], [good]), ([good | {"capabilities": None}], [good])):
        body = json.dumps({"available_phone_numbers": offered})
        simulated.faults.queue("search", Fault("answer", False, status=200, body=body))
        shown = make_shop(server.url).search("US", limit=9)
        assert [one.e164 for one in shown] == [one["phone_number"] for one in left]


def test_two_servers_of_one_book_sell_a_number_once(carrier: Carrier, tmp_path: Path) -> None:
    with running_carrier(tmp_path) as beside, ThreadPoolExecutor(8) as threads:
        start = threading.Barrier(8)

        def buy(place: int) -> bool:
            start.wait()
            try:
                return bool((carrier, beside)[place % 2].shop.buy(NUMBER, f"ct:{place}"))
            except Gone:
                return False

        assert sum(threads.map(buy, range(8))) == 1
    assert carrier.bought() == {NUMBER: 1}


def test_a_bought_number_rings_where_it_was_told_to(exchange: Exchanges, twiml: TwimlServer, carrier: Carrier) -> None:
    """Also after it was pointed elsewhere; and a number that nobody rented, at the exchange's own addresses."""
    simulator: Simulator = exchange(rented=carrier.account.addresses)
    for path in ("/voice/inbound", "/moved/voice/inbound"):
        twiml.pages[path] = response("<Say>Hello</Say>")
    shop = make_shop(carrier.url, voice=twiml.url)
    owned = shop.buy(NUMBER, "ct:1")
    simulator.call("+14155552671", NUMBER)
    assert twiml.paths() == ["/voice/inbound", "/voice/status"]
    make_shop(carrier.url, voice=f"{twiml.url}/moved").configure(owned.sid)
    simulator.call("+14155552671", NUMBER)
    simulator.call("+14155552671", "+12015550002")
    assert twiml.paths()[2:] == ["/moved/voice/inbound", "/moved/voice/status", "/voice/inbound", "/voice/status"]


@given(st.sampled_from(["GET", "POST", "DELETE", "PUT"]), st.text(max_size=40), st.binary(max_size=60))
def test_no_request_breaks_the_carrier(
    tmp_path_factory: pytest.TempPathFactory, method: str, path: str, body: bytes
) -> None:
    rest = Rest(Account(tmp_path_factory.getbasetemp() / "junk.db"), "AC1", "token")
    headers = {"Authorization": httpx.BasicAuth("AC1", "token")._auth_header}
    for start in (
        "/2010-04-01/Accounts/AC1/",
        "/2010-04-01/Accounts/AC1/IncomingPhoneNumbers",
        "/2010-04-01/Accounts/AC1/Calls",
        "/2010-04-01/Accounts/AC1/Recordings",
        "/v1/PhoneNumbers/Countries/",
    ):
        status, _, answer = rest.reply(method, start + path, headers, body)
        assert status in (200, 201, 204, 400, 404)
        assert json.loads(answer or b"{}") is not None
