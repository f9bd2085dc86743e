"""Which shop a server has: the simulated carrier in its own process, one at an address, or Twilio."""

from pathlib import Path

import pytest

from router.carriers import shop_of
from router.carriers.base import Gone
from router.config import Settings, SettingsError, read_settings
from router.db import Database
from router.lib.crypto import KeyRing
from router.server import Server
from tests.carriers.rest import running_carrier

NUMBER = "+12015550001"


def make(tmp_path: Path, **more: str) -> Server:
    settings = Settings(data_dir=tmp_path, secret_key="s" * 20, public_url="https://calls.example.net", **more)  # type: ignore[arg-type]
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
        server = make(tmp_path, simulator_url=carrier.url, twilio_auth_token=carrier.token)
        shop_of(server).buy(NUMBER, "ct:1")
        assert carrier.bought() == {NUMBER: 1}


def test_twilio_needs_its_account_to_sell_numbers(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="TWILIO_ACCOUNT_SID"):
        shop_of(make(tmp_path, carrier="twilio", twilio_auth_token="t"))
    assert shop_of(make(tmp_path, carrier="twilio", twilio_auth_token="t", twilio_account_sid="AC1"))


def test_the_simulated_carriers_address_is_checked_at_the_start() -> None:
    with pytest.raises(SettingsError, match="ROUTER_SIMULATOR_URL: must begin with"):
        read_settings({"ROUTER_SIMULATOR_URL": "localhost:8123"})
    assert read_settings({"ROUTER_SIMULATOR_URL": "http://simulator:8123/"}).simulator_url == "http://simulator:8123"
