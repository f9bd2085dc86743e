"""What is Bitrix24's own beside the shared suite: the pasted webhook, rights, leads or deals, and whose number it is."""

import time
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from router.integrations.base import DeliveryError
from router.integrations.bitrix24 import BITRIX24, Bitrix24Settings
from router.integrations.bitrix24.client import bb_code
from router.integrations.bitrix24.connector import Bitrix24Connector
from router.integrations.crm.accounts import check_connection
from router.integrations.crm.connector import OWN_FIELDS, Access, Checked, Record
from router.lib.http_client import Answer
from tests.integrations.bitrix24_world import ADMIN, SELLER, WEBHOOK, Bitrix24DealsWorld, Bitrix24World
from tests.integrations.crm_world import Line
from tests.people import NOW


@pytest.fixture
def world() -> Bitrix24World:
    return Bitrix24World()


def checked(world: Bitrix24World, *managers: str, **config: object) -> Checked:
    return check_connection(BITRIX24, Line(world.transport), world.config | config, world.secret, managers, NOW)


def connector(world: Bitrix24World, line: Line | None = None) -> Bitrix24Connector:
    access = Access(world.config, world.secret, time.monotonic() + 15, NOW)
    return Bitrix24Connector(line or Line(world.transport), access)


@pytest.mark.parametrize("pasted", [f"https://roses.bitrix24.com/rest/{WEBHOOK}/", f"{WEBHOOK}/", WEBHOOK])
def test_a_webhook_may_be_pasted_as_bitrix24_shows_it(pasted: str) -> None:
    typed = Bitrix24Settings(url=f"https://roses.bitrix24.com/rest/{WEBHOOK}/profile.json", key=pasted)
    assert (typed.url, typed.key) == ("https://roses.bitrix24.com", WEBHOOK)


def test_something_else_is_no_webhook() -> None:
    with pytest.raises(ValidationError, match="looks like"):
        Bitrix24Settings(url="https://roses.bitrix24.com", key="1/abc/../../x")


def test_a_check_tells_whose_it_is_and_what_there_is_and_leaves_nothing(world: Bitrix24World) -> None:
    found = checked(world, "ben@example.com")
    assert (found.account.identity, found.problems) == ("roses.bitrix24.com", [])
    assert [person.value for person in found.choices.people] == ["anna@example.com", "ben@example.com"]
    assert [stage.value for stage in found.choices.stages] == ["NEW", "IN_PROCESS", "CONVERTED", "JUNK"]
    assert not [name for _, name, _ in world.fake.asked if name.endswith((".add", ".update"))]
    deals = checked(Bitrix24DealsWorld())
    assert [pipeline.label for pipeline in deals.choices.pipelines] == ["General", "Service"]
    assert ("C5:NEW", "5") in [(stage.value, stage.within) for stage in deals.choices.stages]


def test_a_check_says_what_is_missing(world: Bitrix24World) -> None:
    world.fake.mode = 2
    problems = checked(world, "gerd@example.com", "8", stage="Old", fields={"UF_CRM_X": "{visit}"}).problems
    assert problems[:2] == ["the Bitrix24 user “gerd@example.com” was dismissed.", "Bitrix24 has no user “8”."]
    assert "simple mode" in problems[2]
    assert problems[3:] == ["stageId: Bitrix24 has no stage “Old”", "UF_CRM_X: Bitrix24 has no such field"]
    world.fake.rights = ["crm"]
    assert checked(world).problems == ["The webhook lacks the right Users (user)."]


@pytest.mark.parametrize("name", ["7", "ben@example.com", "Ben Seller"])
def test_a_person_is_named_by_id_or_address_or_name(world: Bitrix24World, name: str) -> None:
    found = connector(world).person(name)
    assert not isinstance(found, str)
    assert found.id == SELLER


def test_fields_are_made_once(world: Bitrix24World) -> None:
    made = connector(world).make_fields(OWN_FIELDS)
    assert made["visit"] == "UF_CRM_CALLTRACK_VISIT"
    assert connector(world).make_fields(OWN_FIELDS) == made
    Bitrix24Settings(url="https://x.bitrix24.com", key=WEBHOOK, fields=dict.fromkeys(made.values(), "{visit}"))
    world.fake.may_add_fields = False
    world.fake.own_fields[1].clear()
    with pytest.raises(DeliveryError) as refused:
        connector(world).make_fields(OWN_FIELDS)
    assert refused.value.status == 403


def person(world: Bitrix24World, typed: str) -> int:
    number = world.fake.next_id()
    item = {"id": number, "name": "Kern", "assignedById": ADMIN, "fm": [{"typeId": "PHONE", "value": typed}]}
    world.fake.table("items 3")[number] = item
    return number


def deal_of(world: Bitrix24World, contact: int, stage: str) -> int:
    number = world.fake.next_id()
    deal = {"id": number, "title": "Roses", "stageId": stage, "contactId": contact, "assignedById": ADMIN}
    world.fake.table("items 2")[number] = deal | {"categoryId": 0, "createdTime": "2026-11-20T10:00:00+03:00"}
    return number


@pytest.mark.parametrize(
    ("typed", "is_found"), [("030 7664398", True), ("+49 (30) 766-43-98", True), ("+39 030 7664398", False)]
)
def test_a_contacts_open_deal_gets_the_call(world: Bitrix24World, typed: str, is_found: bool) -> None:
    world.caller = "+49307664398"
    deal = deal_of(world, person(world, typed), "NEW")
    world.deliver(world.message())
    assert (len(world.comments(deal)), len(world.fake.table("items 1"))) == ((1, 0) if is_found else (0, 1))


def test_a_customer_without_a_deal_gets_the_call_at_the_contact(world: Bitrix24World) -> None:
    contact = person(world, world.caller)
    world.deliver(world.message())
    assert len(world.comments(contact)) == 1
    assert not world.fake.table("items 1")


def test_a_lost_deal_comes_back_where_the_settings_say_so(world: Bitrix24World) -> None:
    deal = deal_of(world, person(world, world.caller), "LOSE")
    world.deliver(world.message(config=world.config | {"fields": {}, "reopen_lost": True}))
    assert world.fake.table("items 2")[deal]["stageId"] == "NEW"


def test_what_bitrix24_does_not_have_is_left_out_and_told(world: Bitrix24World) -> None:
    config = world.config | {"fields": {"UF_CRM_GONE": "{visit}x", "name": "Call {phone}"}, "stage": "Old"}
    world.attempt(world.message(config=config), Line(world.transport))
    (lead,) = world.fake.table("items 1").values()
    assert lead["title"] == f"Call {world.caller}"
    assert "UF_CRM_GONE" in str(world.steps["warning"])
    assert "no stage “Old”" in str(world.steps["warning"])


def test_a_deleted_lead_gets_no_comment_and_another_is_made(world: Bitrix24World) -> None:
    world.deliver(world.message())
    world.fake.table("items 1").clear()
    with pytest.raises(DeliveryError, match="no such record"):
        connector(world).add_note(Record("lead", world.known or ""), "x")
    again = world.message()
    world.deliver(replace(again, call=again.call | {"sid": "CA2"}, known_lead=world.known))
    assert len(world.leads()) == 1


def test_a_timeline_longer_than_an_answer_is_read_comment_by_comment(world: Bitrix24World) -> None:
    world.deliver(world.message())

    def long(method: str, url: str, content: bytes, headers: Any) -> Answer:
        answer = world.fake(method, url, content, headers)
        return (
            replace(answer, complete=False)
            if url.endswith("comment.list.json") and b"COMMENT" in content[:60]
            else answer
        )

    world.transport = long
    known = connector(world).note(Record("lead", world.known or ""), f"Call id: {world.message().call['sid']}")
    assert known is not None


def test_our_notes_as_bitrix24_writes_them() -> None:
    html = '<p>Call &amp; more<br><a href="https://x.example/r?a=1&amp;b=2">Recording</a></p><p>Call id: CA1</p>'
    assert bb_code(html) == "Call & more\n[URL=https://x.example/r?a=1&b=2]Recording[/URL]\nCall id: CA1"


def test_the_webhook_stands_in_no_error(world: Bitrix24World) -> None:
    code = WEBHOOK.partition("/")[2]
    body = f'{{"error": "X", "error_description": "No method /rest/{WEBHOOK}/ {code}"}}'.encode()
    line = Line(world.transport, 1, Answer(400, {}, body, complete=True))
    with pytest.raises(DeliveryError) as refused:
        connector(world, line).client.call("scope")
    assert code not in str(refused.value)
    assert code not in refused.value.answer
