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
from router.carriers.base import Gone, NotForUs
from router.carriers.simulator import Simulator
from router.carriers.simulator.account import Account
from router.carriers.simulator.rest import Rest, RestServer, Standing
from tests.carriers.rest import TOKEN, VOICE, Carrier, library, make_shop, running_carrier, twilio_client
from tests.carriers.rest_faults import Fault, FaultyRest, faulty_server
from tests.carriers.simulator.conftest import Exchanges, TwimlServer, response

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
