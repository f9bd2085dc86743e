"""R10 in Odoo: one set of tests for our stand-in and, when its address and keys are given (odoo.py), for the real product."""

import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from router.integrations.base import DeliveryError, Message, Skipped
from router.integrations.crm.connector import Access
from router.integrations.crm.notes import essence
from router.integrations.odoo.client import OdooClient
from router.lib.http_client import Outgoing
from router.web.filters import percent
from tests.integrations.odoo import LOOPBACK, Crm, new_number
from tests.integrations.receiver import receiver


def test_a_new_customers_call_makes_one_lead_with_its_source_and_a_note(crm: Crm) -> None:
    answer, steps = crm.send(crm.message())
    (lead,) = crm.leads()
    assert (lead["name"], lead["id"]) == (f"Call from {crm.caller}", steps["lead_id"])
    assert [lead[name][1].lower() for name in ("source_id", "medium_id", "campaign_id")] == ["google", "cpc", "spring"]
    assert lead["user_id"] is False  # never by itself the person behind the key
    (note,) = crm.notes(lead["id"])
    for words in ("answered, 1 min 12 s", "Source: google / cpc / spring, 91 % sure", "Visit: 10234", "13:00:00"):
        assert words in note
    assert "<script" not in note + lead["description"]
    assert "&lt;script&gt;" in note
    assert answer["note_id"]


@pytest.mark.parametrize(
    ("sure", "said"),
    [(0.29, "29 %"), (0.57, "57 %"), (0.58, "58 %"), (0.999, "99 %"), (0.004, "under 1 %"), (0, "0 %")],
)
def test_a_note_says_a_share_as_every_page_does(crm: Crm, sure: float, said: str) -> None:
    attribution = {"rule": "lease", "confidence": 0.1, "source_confidence": sure, "candidates": []}
    assert f"spring, {said} sure" in essence(crm.message(call={"attribution": attribution}))
    assert percent(sure) == said


def test_r10_a_note_says_that_a_call_was_blocked(crm: Crm) -> None:
    said = essence(crm.message(call={"kind": "blocked", "status": "failed", "duration": 0, "ring_seconds": 0}))
    assert ": blocked." in said
    assert "failed" not in said


def test_a_repeat_makes_neither_a_second_lead_nor_a_second_note(crm: Crm) -> None:
    message = crm.message()
    _, steps = crm.send(message)
    crm.send(replace(message, reference=steps))
    crm.send(replace(message, reference={}, known_lead=crm.known))
    (lead,) = crm.leads()
    assert len(crm.notes(lead["id"])) == 1


def test_a_crash_after_the_lead_was_made_and_before_it_was_remembered_makes_no_second_one(crm: Crm) -> None:
    message = crm.message()
    crm.send(message)
    crm.known = None
    crm.send(replace(message, reference={"creating": True}))
    (lead,) = crm.leads()
    assert len(crm.notes(lead["id"])) == 1


def test_a_later_call_is_added_to_the_lead_that_exists(crm: Crm) -> None:
    crm.send(crm.message())
    crm.send(crm.message(call={"status": "missed", "duration": None}))
    (lead,) = crm.leads()
    notes = crm.notes(lead["id"])
    assert len(notes) == 2
    assert any("missed" in note for note in notes)


def test_a_known_customer_gets_no_new_lead_unless_the_switch_says_so(crm: Crm) -> None:
    crm.send(crm.message())
    (lead,) = crm.leads()
    crm.ask("crm.lead", "action_set_won", ids=[lead["id"]])
    crm.send(crm.message())
    assert len(crm.leads()) == 1
    assert len(crm.notes(lead["id"])) == 2
    crm.send(crm.message(config={"only_new_customers": False}))
    assert len(crm.leads()) == 2


@pytest.mark.parametrize("ending", ["action_set_lost", "action_archive"])
def test_a_call_on_a_lead_that_nobody_sees_any_more_makes_a_new_one(crm: Crm, ending: str) -> None:
    crm.send(crm.message())
    (lead,) = crm.leads()
    crm.ask("crm.lead", ending, ids=[lead["id"]])
    answer, _ = crm.send(crm.message())
    assert answer["record"] != lead["id"]
    assert len(crm.notes(lead["id"])) == 1
    crm.send(crm.message())
    assert len(crm.leads()) == 2, "the new one stands for the caller now"


@pytest.mark.parametrize("ending", ["action_set_lost", "action_archive"])
def test_a_lost_lead_is_reopened_with_a_task_when_the_switch_says_so(crm: Crm, ending: str) -> None:
    config = {"reopen_lost": True, "manager": "admin"}
    crm.send(crm.message(config=config))
    (lead,) = crm.leads()
    crm.ask("crm.lead", ending, ids=[lead["id"]])
    message = crm.message(config=config)
    answer, steps = crm.send(message)
    assert answer["record"] == lead["id"]
    (kept,) = crm.ask("crm.lead", "search_read", domain=[["id", "=", lead["id"]]], fields=["active", "won_status"])
    assert (kept["active"], kept["won_status"]) == (True, "pending")
    (task,) = crm.tasks(lead["id"])
    assert "rang again" in task["summary"]
    crm.send(replace(message, reference=steps))
    assert len(crm.tasks(lead["id"])) == 1
    assert len(crm.notes(lead["id"])) == 2


@pytest.mark.parametrize("status", ["missed", "busy", "failed", "abandoned", "voicemail"])
def test_a_missed_call_leaves_a_task_for_the_responsible_person_due_that_day(crm: Crm, status: str) -> None:
    message = crm.message(config={"manager": "admin"}, call={"status": status, "duration": 0})
    answer, steps = crm.send(message)
    (task,) = crm.tasks(answer["record"])
    assert task["summary"] == f"Call back {crm.caller}"
    assert (task["user_id"][1], task["date_deadline"]) == ("Administrator", "2026-11-23")
    crm.send(replace(message, reference=steps))
    crm.send(replace(message, reference={}, known_lead=crm.known))
    assert len(crm.tasks(answer["record"])) == 1


def test_the_owner_of_the_lead_gets_the_task_whoever_the_settings_name(crm: Crm) -> None:
    answer, _ = crm.send(crm.message(config={"manager": "calltracking"}))
    answer, _ = crm.send(crm.message(config={"manager": "admin"}, call={"status": "missed", "duration": 0}))
    (task,) = crm.tasks(answer["record"])
    assert task["user_id"][1] == "Call tracking"


@pytest.mark.parametrize(
    ("config", "call"),
    [
        ({"manager": "admin"}, {}),
        ({"manager": "admin", "callback_task": False}, {"status": "missed", "duration": 0}),
        ({}, {"status": "missed", "duration": 0}),
        ({"manager": "admin"}, {"status": "failed", "duration": 0, "kind": "blocked"}),
    ],
)
def test_no_task_for_an_answered_or_blocked_call_nor_without_the_switch_or_anybody(
    crm: Crm, config: dict[str, Any], call: dict[str, Any]
) -> None:
    answer, _ = crm.send(crm.message(config=config, call=call))
    assert crm.tasks(answer["record"]) == []


@pytest.mark.parametrize(
    ("config", "call", "why"),
    [
        ({"answered_only": True}, {"status": "missed", "duration": 0}, "not answered"),
        ({"longer_than": 72}, {}, "not longer than 72 s"),
        ({"first_call_only": True}, {"first_call": False}, "not the caller's first call"),
    ],
)
def test_conditions_keep_a_call_from_making_a_lead_and_not_from_being_added_to_one(
    crm: Crm, config: dict[str, Any], call: dict[str, Any], why: str
) -> None:
    with pytest.raises(Skipped, match=why):
        crm.send(crm.message(config=config, call=call))
    assert crm.leads() == []
    lead = crm.make("crm.lead", name="Garden", phone=crm.caller)
    crm.send(crm.message(config=config, call=call))
    assert len(crm.notes(lead)) == 1
    assert len(crm.leads()) == 1


def test_conditions_that_are_met_make_a_lead(crm: Crm) -> None:
    config = {"answered_only": True, "longer_than": 71, "first_call_only": True}
    crm.send(crm.message(config=config, call={"first_call": True}))
    assert len(crm.leads()) == 1


def test_no_second_deal_while_one_is_open_unless_the_switch_says_so(crm: Crm) -> None:
    crm.send(crm.message())
    crm.send(crm.message(config={"only_new_customers": False}))
    assert len(crm.leads()) == 1
    crm.send(crm.message(config={"only_new_customers": False, "not_while_open": False}))
    assert len(crm.leads()) == 2


def test_a_contact_with_this_number_is_a_customer_and_gets_the_note(crm: Crm) -> None:
    (partner,) = crm.ask("res.partner", "create", vals_list=[{"name": "Bob", "phone": crm.caller}])
    answer, steps = crm.send(crm.message())
    assert crm.leads() == []
    assert (answer["model"], answer["record"]) == ("res.partner", partner)
    assert "lead_id" not in steps
    assert len(crm.notes(partner, "res.partner")) == 1


def test_a_lead_that_was_deleted_is_made_again_by_the_next_try(crm: Crm) -> None:
    message = crm.message()
    _, steps = crm.send(message)
    crm.ask("crm.lead", "unlink", ids=[steps["record"]])
    with pytest.raises(DeliveryError, match="deleted") as refused:
        crm.again(message, reference=steps | {"note_id": None})
    assert not refused.value.permanent
    crm.again(message)
    assert len(crm.leads()) == 1


def test_a_crash_before_the_answer_waits_for_odoos_own_limit_and_makes_nothing_twice(crm: Crm) -> None:
    message = crm.message()
    crm.send(message)
    crm.known = None
    begun = {"creating": True, "begun": {"lead": message.now.isoformat()}}
    with pytest.raises(DeliveryError, match="still be under way") as refused:
        crm.send(replace(message, reference=begun))
    assert (refused.value.retry_after, refused.value.permanent) == (120, False)
    crm.again(message, reference=begun)
    (lead,) = crm.leads()
    assert len(crm.notes(lead["id"])) == 1


def test_a_lead_that_was_merged_away_is_known_by_its_notes_which_went_along(crm: Crm) -> None:
    master = crm.make("crm.lead", name="Garden", phone=new_number())
    crm.send(crm.message())
    (lead,) = crm.leads()
    crm.ask("crm.lead", "merge_opportunity", ids=[master, lead["id"]])
    assert crm.leads() == []
    answer, _ = crm.send(crm.message())
    assert answer["record"] == master
    assert crm.known == str(master)
    assert crm.leads() == []


def test_a_lead_that_is_merged_away_before_its_second_attempt_gets_no_second_lead_and_no_second_note(crm: Crm) -> None:
    master = crm.make("crm.lead", name="Garden", phone=new_number())
    message = crm.message()
    crm.send(message)
    (lead,) = crm.leads()
    crm.ask("crm.lead", "merge_opportunity", ids=[master, lead["id"]])
    answer, _ = crm.again(message, reference={"creating": True}, known_lead=None)
    assert answer["record"] == master
    assert (crm.leads(), len(crm.notes(master))) == ([], 1)


def test_a_repeat_overwrites_nothing_that_people_changed(crm: Crm) -> None:
    message = crm.message(config={"manager": "admin"})
    crm.send(message)
    (lead,) = crm.leads()
    other = crm.ask("res.users", "search_read", domain=[["login", "=", "calltracking"]], fields=["id"])[0]["id"]
    theirs = {
        "name": "Roses for Frau Kern",
        "user_id": other,
        "description": "<p>wants red ones</p>",
        "campaign_id": False,
    }
    crm.ask("crm.lead", "write", ids=[lead["id"]], vals=theirs)
    crm.again(message, reference={"creating": True, "begun": {"lead": message.now.isoformat()}}, known_lead=None)
    (kept,) = crm.leads()
    assert (kept["name"], kept["user_id"][0], kept["campaign_id"]) == ("Roses for Frau Kern", other, False)
    assert "red ones" in kept["description"]


def test_r7_a_corrected_source_changes_the_lead_as_far_as_it_is_still_ours(crm: Crm) -> None:
    message = crm.message(config={"fields": {"name": "{utmCampaign}: {phone}", "contact_name": "{utmCampaign}"}})
    _, steps = crm.send(message)
    (lead,) = crm.leads()
    crm.ask("crm.lead", "write", ids=[lead["id"]], vals={"name": "Roses"})
    call = {**message.call, "source": {"channel": "email", "source": "letter", "medium": "email", "campaign": "winter"}}
    placeholders = {**message.placeholders, "utmCampaign": "winter"}
    update = replace(message, event="call.updated", call=call, placeholders=placeholders, earlier=steps)
    crm.send(update)
    (kept,) = crm.leads()
    assert [kept[name][1].lower() for name in ("source_id", "medium_id", "campaign_id")] == [
        "letter",
        "email",
        "winter",
    ]
    assert kept["name"] == "Roses"
    assert "letter / email / winter" in kept["description"]
    (told,) = [note for note in crm.notes(lead["id"]) if "was changed here and stays" in note]
    assert "winter: " in told
    with pytest.raises(Skipped):
        crm.send(replace(update, reference=crm.steps))
    assert len([note for note in crm.notes(lead["id"]) if "was changed here" in note]) == 1


@pytest.mark.parametrize("manager", ["admin", "ADMIN", "2"])
def test_the_manager_of_the_integration_is_responsible(crm: Crm, manager: str) -> None:
    if manager == "2":
        manager = str(crm.ask("res.users", "search_read", domain=[["login", "=", "admin"]], fields=["id"])[0]["id"])
    crm.send(crm.message(config={"manager": manager}))
    assert crm.leads()[0]["user_id"][1] == "Administrator"


def test_a_manager_whom_odoo_does_not_know_costs_no_lead(crm: Crm) -> None:
    _, steps = crm.send(crm.message(config={"manager": "nobody@example.com"}))
    assert crm.leads()[0]["user_id"] is False
    assert "nobody@example.com" in steps["warning"]


def test_fields_are_filled_from_templates(crm: Crm) -> None:
    fields = {"name": "{utmCampaign}: {phone}", "description": "<b>{phone}</b>\nx", "contact_name": "Caller"}
    crm.send(crm.message(config={"fields": fields}))
    (lead,) = crm.leads()
    assert lead["name"] == f"spring: {crm.caller}"
    assert "&lt;b&gt;" in lead["description"]


def test_marketing_sources_are_found_in_any_case_and_made_once(crm: Crm) -> None:
    name = f"50%_{secrets.token_hex(4)}"
    for spelling in (name, name.upper()):
        crm.caller = new_number()
        crm.known = None
        source = {"source": spelling, "medium": "", "campaign": ""}
        crm.send(crm.message(call={"source": source}))
    domain = [["name", "ilike", name.split("_")[1]]]
    assert len(crm.ask("utm.source", "search_read", domain=domain, fields=["name"])) == 1


def test_callers_who_come_at_once_agree_on_one_marketing_source(crm: Crm) -> None:
    name = f"radio-{secrets.token_hex(4)}"
    messages = []
    for _ in range(4):
        crm.caller = new_number()
        messages.append(crm.message(call={"source": {"source": name, "medium": "", "campaign": ""}}, known_lead=None))
    errors: list[DeliveryError] = []

    def send(message: Message) -> None:
        try:
            crm.send(message)
        except DeliveryError as error:
            errors.append(error)

    threads = [threading.Thread(target=send, args=(message,)) for message in messages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not [error for error in errors if error.permanent]
    assert len(crm.ask("utm.source", "search_read", domain=[["name", "ilike", name]], fields=["name"])) == 1


def test_the_recording_that_comes_later_is_added_once(crm: Crm) -> None:
    crm.send(crm.message())
    page = "https://calls.example.com/calls/12?a=1&b=2%20c_d#recordings"
    update = crm.message("call.updated", call={"recording": {"state": "kept", "page": page}})
    crm.send(update)
    with pytest.raises(Skipped):
        crm.send(replace(update, reference={}))
    notes = crm.notes(crm.leads()[0]["id"])
    assert len([note for note in notes if "/calls/12?a=1" in note]) == 1


def test_a_recording_that_the_call_had_at_its_end_is_in_its_note(crm: Crm) -> None:
    page = "https://calls.example.com/calls/12#recordings"
    message = crm.message(call={"recording": {"state": "waiting", "page": page}})
    crm.send(message)
    with pytest.raises(Skipped):
        crm.send(replace(message, event="call.updated", known_lead=crm.known))
    (note,) = crm.notes(crm.leads()[0]["id"])
    assert f'href="{page}"' in note


def test_r7_a_corrected_end_or_source_is_added_once_and_makes_no_second_lead(crm: Crm) -> None:
    crm.send(crm.message())
    source = {"channel": "email", "source": "mail & more", "medium": "email", "campaign": "", "term": "", "content": ""}
    update = crm.message("call.updated", call={"status": "missed", "duration": 0, "source": source})
    crm.send(update)
    with pytest.raises(Skipped):
        crm.send(update)
    (lead,) = crm.leads()
    corrections = [note for note in crm.notes(lead["id"]) if "Corrected" in note]
    assert len(corrections) == 1
    assert "missed" in corrections[0]
    assert "mail &amp; more" in corrections[0]


def test_an_update_without_anything_new_is_skipped(crm: Crm) -> None:
    crm.send(crm.message())
    with pytest.raises(Skipped):
        crm.send(crm.message("call.updated"))


def test_a_withheld_caller_gets_a_lead_of_each_call_only_where_the_switch_says_so(crm: Crm) -> None:
    with pytest.raises(Skipped, match="withheld"):
        crm.send(crm.message(call={"caller": None}))
    made = [crm.send(crm.message(config={"withheld_leads": True}, call={"caller": None}))[0] for _ in range(2)]
    first, second = (crm.lead(answer["record"]) for answer in made)
    assert first["id"] != second["id"]
    assert (first["name"], first["phone"]) == ("Call with a withheld number", False)
    assert "a withheld number" in crm.notes(first["id"])[0]


@pytest.mark.parametrize(
    ("change", "permanent", "refused_account"),
    [
        (lambda crm: {"secret": "wrong"}, False, True),
        (lambda crm: {"config": {"url": crm.url, "database": "nope"}}, False, False),
        (lambda crm: {"config": {"url": crm.url + "/elsewhere", "database": crm.database}}, None, None),
        (lambda crm: {"config": {"url": "http://127.0.0.1:9", "database": crm.database}}, False, False),
    ],
)
def test_odoos_refusals_are_told_apart(
    crm: Crm, change: Callable[[Crm], dict[str, Any]], permanent: bool | None, refused_account: bool | None
) -> None:
    with pytest.raises(DeliveryError) as refused:
        crm.send(replace(crm.message(), **change(crm)))
    if permanent is not None:
        assert (refused.value.permanent, refused.value.refused_account) == (permanent, refused_account)
    assert crm.key not in str(refused.value)
    assert crm.leads() == []


@pytest.mark.parametrize(
    ("status", "body", "permanent"),
    [
        (200, {"ids": False, "messages": [{"message": "The name must be unique"}]}, False),
        (200, {"ids": False, "messages": [{"message": "could not serialize access due to concurrent update"}]}, False),
        (200, {"ids": False, "messages": [{"message": "Missing required value"}]}, True),
        (200, None, False),
        (500, {"name": "psycopg2.errors.SerializationFailure", "message": "x"}, False),
        (500, {"name": "builtins.ValueError", "message": "Invalid field"}, True),
        (422, {"name": "odoo.exceptions.UserError", "message": "No"}, True),
        (429, {"name": "x", "message": "slow down"}, False),
        (502, None, False),
    ],
)
def test_what_passes_is_tried_again_and_what_stays_is_not(status: int, body: Any, permanent: bool) -> None:
    content = b"<html>bad" if body is None else json.dumps(body).encode()
    with receiver(lambda request: (status, {}, content)) as inbox:
        message = Crm(inbox.url, "db", "the-key", "").message(deadline=time.monotonic() + 5)
        client = OdooClient(Outgoing(LOOPBACK), Access.of(message))
        with pytest.raises(DeliveryError) as refused:
            client.load("utm.source", "calltrack.x", {"name": "x"})
    assert refused.value.permanent is permanent
    assert not refused.value.refused_account


def test_the_answers_have_the_real_ones_shape(crm: Crm) -> None:
    """What the connector relies on, once more in Odoo's own words."""
    name = f"calltrack.lead_{secrets.token_hex(8)}"
    refused = crm.ask("crm.lead", "load", fields=["id", "name", "user_id/.id"], data=[[name, "x", 99999]])
    assert refused["ids"] is False
    assert "No matching record found for database id '99999'" in refused["messages"][0]["message"]
    refused = crm.ask("crm.lead", "load", fields=["id", "name"], data=[[name, ""]])
    assert refused["ids"] is False
    made = crm.ask("crm.lead", "load", fields=["id", "name", "phone"], data=[[name, "x", "anonymous"]])
    (lead,) = crm.ask(
        "crm.lead",
        "search_read",
        domain=[["id", "=", made["ids"][0]]],
        fields=["phone_sanitized", "active", "won_status", "stage_id"],
    )
    assert (lead["phone_sanitized"], lead["active"], lead["won_status"]) == (False, True, "pending")
    assert lead["stage_id"][1] == "New"
    posted = crm.ask("crm.lead", "message_post", ids=made["ids"], body="<b>Call id: &</b>")
    (message,) = crm.ask("mail.message", "search_read", domain=[["id", "=", posted[0]]], fields=["body"])
    assert message["body"] == "<span>&lt;b&gt;Call id: &amp;&lt;/b&gt;</span>"
