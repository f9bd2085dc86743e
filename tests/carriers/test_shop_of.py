"""Which shop a server has: the simulated carrier in its own process, one at an address, or Twilio."""

import socket
from pathlib import Path
from typing import Any

import pytest

from router.carriers import ANYWHERE, carrier_hosts, carrier_networks, shop_of
from router.carriers.base import CarrierHosts, Gone, NotForUs
from router.carriers.twilio.rest import TwilioShop
from router.config import Settings, SettingsError, read_settings
from router.db import Database
from router.lib.crypto import KeyRing
from router.server import Server
from tests.carriers.rest import running_carrier
from tests.factories import NOON

NUMBER = "+12015550001"


def make(tmp_path: Path, **more: str) -> Server:
    settings = Settings(data_dir=tmp_path, secret_key="s" * 20, public_url="https://calls.example.net", **more)  # type: ignore[arg-type]  # any settings
    return Server(settings, Database(settings.database), KeyRing(("s" * 20,)))


def test_without_set_up_processes_with_the_same_data_folder_share_what_they_own(tmp_path: Path) -> None:
    web, worker = make(tmp_path), make(tmp_path)
    assert shop_of(web) is shop_of(web)
    owned = shop_of(web).buy(NUMBER, "ct:1")
    assert shop_of(worker).find(NUMBER) == owned
    with pytest.raises(Gone):
        shop_of(worker).buy(NUMBER, "ct:2")


def test_a_simulated_carrier_elsewhere_is_reached_at_its_address(tmp_path: Path) -> None:
    with running_carrier(tmp_path / "elsewhere") as carrier:
        server = make(tmp_path, carrier_url=carrier.url, twilio_auth_token=carrier.token)
        shop_of(server).buy(NUMBER, "ct:1")
        assert carrier.bought() == {NUMBER: 1}


def test_twilio_needs_its_account_to_sell_numbers(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="TWILIO_ACCOUNT_SID"):
        shop_of(make(tmp_path, carrier="twilio", twilio_auth_token="t"))
    assert shop_of(make(tmp_path, carrier="twilio", twilio_auth_token="t", twilio_account_sid="AC1"))


@pytest.mark.parametrize("of", ["", "PRICING_", "MEDIA_", "PERMISSIONS_", "NUMBERS_"])
def test_the_addresses_of_the_carriers_hosts_are_checked_at_the_start(of: str) -> None:
    variable = f"ROUTER_CARRIER_{of}URL"
    with pytest.raises(SettingsError, match=f"{variable}: must begin with"):
        read_settings({variable: "localhost:8123"})
    field = variable.removeprefix("ROUTER_").lower()
    assert getattr(read_settings({variable: "http://simulator:8123/"}), field) == "http://simulator:8123"


def test_without_settings_twilios_own_hosts_are_asked() -> None:
    assert carrier_hosts(Settings(carrier="twilio")) == CarrierHosts(
        "https://api.twilio.com",
        "https://pricing.twilio.com",
        "https://api.twilio.com",
        "https://voice.twilio.com",
        "https://numbers.twilio.com",
    )
    mock = "http://127.0.0.1:9"
    assert carrier_hosts(Settings(carrier="twilio", carrier_url=mock)) == CarrierHosts(mock, mock, mock, mock, mock)
    some = Settings(carrier="twilio", carrier_url=mock, carrier_media_url="http://127.0.0.1:8")
    assert carrier_hosts(some) == CarrierHosts(mock, mock, "http://127.0.0.1:8", mock, mock)


@pytest.mark.parametrize("carrier", ["twilio", "simulator"])
@pytest.mark.parametrize("is_apart", [False, True], ids=["one setting", "prices apart"])
def test_with_the_hosts_set_no_other_is_asked_whatever_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, carrier: str, is_apart: bool
) -> None:
    """Every connection that this process opens is noted, and every name that it looks up."""
    with running_carrier(tmp_path / "one") as api, running_carrier(tmp_path / "two") as prices:
        account = {"carrier": carrier, "twilio_auth_token": api.token, "twilio_account_sid": api.sid}
        apart = {"carrier_pricing_url": prices.url} if is_apart else {}
        shop = shop_of(make(tmp_path, carrier_url=api.url, **account, **apart))
        assert isinstance(shop, TwilioShop)
        opened, names, connect, look_up = set(), set(), socket.socket.connect, shop._http.resolver

        def connect_noted(one: socket.socket, address: Any) -> None:
            opened.add(f"http://{address[0]}:{address[1]}")
            connect(one, address)

        def look_up_noted(host: str, *values: Any, **more: Any) -> Any:
            names.add(host)
            return look_up(host, *values, **more)

        monkeypatch.setattr(socket.socket, "connect", connect_noted)
        monkeypatch.setattr(shop._http, "resolver", look_up_noted)
        assert "US" in shop.countries()
        (offer,) = shop.search("US", "415", limit=1)
        assert offer.price is not None
        assert shop.price("US") == offer.price
        owned = shop.buy(offer.e164, "ct:1")
        assert (shop.find(offer.e164), shop.owned()) == (owned, [owned])
        shop.configure(owned.sid)
        assert (shop.account().status, shop.balance() is not None) == ("active", True)
        assert shop.dialled_countries()
        assert (shop.bundles("HU", "local"), shop.wants_bundle("HU", "local"), shop.addresses()) == ([], False, [])
        assert shop.find_bundle("BU1") is shop.find_address("AD1") is None
        assert list(shop.calls(NOON, NOON)) == shop.recordings("CA1") == []
        assert list(shop.recordings_between(NOON, NOON)) == []
        with pytest.raises(Gone):
            shop.fetch_recording("RE1", 2, lambda piece: None)
        shop.delete_recording("RE1")
        shop.release(owned.sid)
        assert (opened, names) == ({api.url, *apart.values()}, {"127.0.0.1"})
        asked_for_prices = prices if is_apart else api
        assert "price" in {kind for kind, _ in asked_for_prices.faults.asked}


def test_the_token_leaves_a_private_network_by_https_alone(tmp_path: Path) -> None:
    account = {"carrier": "twilio", "twilio_auth_token": "t", "twilio_account_sid": "AC1"}
    with pytest.raises(NotForUs, match="begin with https"):
        shop_of(make(tmp_path, carrier_url="http://1.1.1.1:9", **account)).owned()
    assert carrier_networks(Settings(carrier="twilio")) == ()
    assert carrier_networks(Settings(carrier="twilio", carrier_url="https://engine.example:9443")) == ANYWHERE


def test_the_file_of_a_recording_is_asked_for_where_files_lie_and_deleted_where_the_account_is(tmp_path: Path) -> None:
    with running_carrier(tmp_path / "one") as api, running_carrier(tmp_path / "two") as media:
        account = {"carrier": "twilio", "twilio_auth_token": api.token, "twilio_account_sid": api.sid}
        shop = shop_of(make(tmp_path, carrier_url=api.url, carrier_media_url=media.url, **account))
        with pytest.raises(Gone):
            shop.fetch_recording("RE1", 2, lambda piece: None)
        assert media.faults.asked == [("media", {"RequestedChannels": "2"})]
        shop.delete_recording("RE1")
        assert [kind for kind, _ in api.faults.asked] == ["forget recording"]
