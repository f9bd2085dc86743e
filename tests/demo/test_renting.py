"""In the demo a number can be searched, rented, dialled and given back, all at the process beside the web server."""

from flask.testing import FlaskClient

from router.carriers import shop_of
from router.config import Settings
from router.db import Database
from router.demo import shop as story
from router.lib.crypto import KeyRing
from router.server import Server
from tests.waiting import eventually


def test_a_rented_number_can_be_dialled_on_the_telephone(
    client: FlaskClient, outside: str, settings: Settings, database: Database, keys: KeyRing
) -> None:
    there = settings.model_copy(update={"simulator_url": outside, "public_url": "http://127.0.0.1:9/rented"})
    shop = shop_of(Server(there, database, keys))
    (offer, *_) = shop.search("US", "415", limit=3)
    owned = shop.buy(offer.e164, "ct:1")
    assert shop.find(offer.e164) == owned
    sid = client.post("/demo/phone/calls", json={"from": "(628) 555-0117", "to": offer.e164}).get_json()["sid"]
    call = eventually(lambda: found if (found := client.get(f"/demo/phone/calls/{sid}").get_json())["ended"] else None)
    assert call["log"][0]["path"] == "/rented/voice/inbound"
    assert shop.search("US", contains=story.COUNTER[-7:], limit=1)[0].e164 != story.COUNTER
    shop.release(owned.sid)
    assert shop.owned() == []
