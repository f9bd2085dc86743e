"""Several accounts at one simulated carrier: each has its own numbers, calls and token, and no number is sold twice."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from router.carriers import SIMULATED_ACCOUNT
from router.carriers.base import Gone, NotForUs
from router.carriers.simulator.accounts import Accounts
from router.carriers.simulator.call_book import CallBook
from router.carriers.simulator.rest import RestServer
from router.carriers.twilio.rest import TwilioShop
from tests.carriers.rest import make_shop
from tests.carriers.simulator.conftest import CALLER, TOKEN, Exchanges, TwimlServer, response

SID, OWN_TOKEN = "AC" + "a" * 32, "token-of-a"


@dataclass
class Branches:
    accounts: Accounts
    url: str
    path: Path

    def shop(self, sid: str = SID, token: str = OWN_TOKEN) -> TwilioShop:
        return make_shop(self.url, token=token, account=sid)


@pytest.fixture
def branches(tmp_path: Path) -> Iterator[Branches]:
    path = tmp_path / "simulator.db"
    accounts = Accounts(path, SIMULATED_ACCOUNT, TOKEN)
    server = RestServer(accounts)
    server.start()
    yield Branches(accounts, server.url, path)
    server.shutdown()
    server.server_close()


def test_each_account_has_its_own_numbers_and_none_is_sold_twice(branches: Branches) -> None:
    own, servers = branches.shop(), branches.shop(SIMULATED_ACCOUNT, TOKEN)
    first, second = [offer.e164 for offer in own.search("US", "415", limit=2)]
    owned, theirs = own.buy(first, "ct:1"), servers.buy(second, "ct:2")
    assert (own.owned(), servers.owned()) == ([owned], [theirs])
    for shop, number in ((servers, owned), (own, theirs)):
        with pytest.raises(Gone):
            shop.buy(number.e164, "ct:3")
        assert shop.find(number.e164) is None
        with pytest.raises(Gone):
            shop.configure(number.sid)
        shop.release(number.sid)
    assert (own.owned(), servers.owned()) == ([owned], [theirs]), "nobody gives back what is another's"
    assert [bundle.status for bundle in own.bundles("HU", "mobile") or ()] == ["in review"]


def test_an_account_that_nobody_gave_a_token_takes_the_last_one_and_the_servers_takes_its_own(
    branches: Branches,
) -> None:
    e164 = branches.shop().search("US", limit=1)[0].e164
    branches.shop().buy(e164, "ct:1")
    assert branches.accounts.signer(e164) == (SID, OWN_TOKEN)
    assert branches.shop(token="another-token").find(e164)
    assert branches.accounts.signer(e164) == (SID, "another-token")
    assert branches.accounts.signer("+12015550001") is None
    assert Accounts(branches.path, SIMULATED_ACCOUNT, TOKEN).signer(e164) is None, "it is in no file"
    assert "token" not in branches.path.read_bytes().decode("latin-1")
    for sid, token in ((SIMULATED_ACCOUNT, OWN_TOKEN), ("AC1", OWN_TOKEN), (SID, "")):
        with pytest.raises(NotForUs, match="20003"):
            branches.shop(sid, token).owned()


def test_calls_to_a_number_are_signed_by_its_account_and_stand_in_its_books(
    branches: Branches, twiml: TwimlServer, exchange: Exchanges
) -> None:
    own = branches.shop()
    (offer,) = own.search("US", limit=1)
    own.buy(offer.e164, "ct:1")
    branches.accounts.servers.account.forget_addresses()
    twiml.pages["/voice/inbound"] = response("<Hangup/>")
    twiml.tokens[SID] = OWN_TOKEN
    simulator = exchange(
        rented=branches.accounts.servers.account.addresses,
        signer=branches.accounts.signer,
        account=SIMULATED_ACCOUNT,
        book=CallBook(branches.path),
    )
    ours, theirs = (simulator.call(CALLER, to) for to in (offer.e164, "+12015550001"))
    simulator.text(CALLER, offer.e164, "Hello")
    told = [values["AccountSid"] for path in ("/voice/inbound", "/voice/sms") for values in twiml.values(path)]
    assert told == [SID, SIMULATED_ACCOUNT, SID]
    for sid, call, other in ((SID, ours, theirs), ("", theirs, ours)):
        book = CallBook(branches.path, sid)
        assert [row["sid"] for row in book.calls({}, "", 9)] == [call.sid]
        assert book.find_call(other.sid) is None
