"""In the demo a number can be searched, rented, dialled and given back, all at the process beside the web server."""

import httpx
import pytest
from flask.testing import FlaskClient

from router.carriers import SIMULATED_ACCOUNT, carrier_tokens, shop_of, shop_of_account
from router.config import Settings
from router.db import Database
from router.demo import shop as story
from router.lib.crypto import KeyRing
from router.lib.http_client import trusted_authorities
from router.server import Server
from tests.waiting import eventually

OWN = "AC" + "a" * 32, "token-of-a-project"


@pytest.mark.one_database
def test_a_number_at_a_projects_own_account_rings_as_that_accounts(
    client: FlaskClient, outside: str, settings: Settings, database: Database, keys: KeyRing
) -> None:
    there = settings.model_copy(update={"carrier_url": outside, "public_url": "http://127.0.0.1:9/rented"})
    shop = shop_of_account(Server(there, database, keys), *OWN)
    owned = shop.buy(shop.search("US", "628", limit=1)[0].e164, "ct:1")
    assert shop.bundles("HU", "local")
    sid = client.post("/demo/phone/calls", json={"from": "(628) 555-0117", "to": owned.e164}).get_json()["sid"]
    eventually(lambda: client.get(f"/demo/phone/calls/{sid}").get_json()["ended"] or None)
    listed = httpx.get(
        f"{outside}/2010-04-01/Accounts/{OWN[0]}/Calls.json",
        auth=OWN,
        trust_env=False,
        verify=trusted_authorities(),
    )
    assert [one["sid"] for one in listed.json()["calls"]] == [sid]


def test_a_rented_number_can_be_dialled_on_the_telephone(
    client: FlaskClient, outside: str, settings: Settings, database: Database, keys: KeyRing
) -> None:
    there = settings.model_copy(update={"carrier_url": outside, "public_url": "http://127.0.0.1:9/rented"})
    shop = shop_of(Server(there, database, keys))
    (offer, *_) = shop.search("US", "415", limit=3)
    owned = shop.buy(offer.e164, "ct:1")
    assert shop.find(offer.e164) == owned
    sid = client.post("/demo/phone/calls", json={"from": "(628) 555-0117", "to": offer.e164}).get_json()["sid"]
    call = eventually(lambda: found if (found := client.get(f"/demo/phone/calls/{sid}").get_json())["ended"] else None)
    assert call["log"][0]["path"] == "/rented/voice/inbound"
    account = SIMULATED_ACCOUNT, carrier_tokens(settings)[0]
    address = f"{outside}/2010-04-01/Accounts/{SIMULATED_ACCOUNT}/Calls.json"
    (listed,) = httpx.get(address, auth=account, trust_env=False, verify=trusted_authorities()).json()["calls"]
    assert (listed["sid"], listed["to"], listed["phone_number_sid"]) == (sid, offer.e164, owned.sid)
    assert shop.search("US", contains=story.COUNTER[-7:], limit=1)[0].e164 != story.COUNTER
    shop.release(owned.sid)
    assert shop.owned() == []
