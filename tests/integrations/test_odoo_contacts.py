"""R10 in Odoo: who the caller is, by phone fields as people type them. Our stand-in and, when its address and keys are given, Odoo 19."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from router.demo.odoo import OdooFake
from router.integrations.base import DeliveryError
from router.integrations.odoo.search import MOST_PAGES, PAGE
from router.lib.http_client import Answer, NoAnswer, Outgoing
from tests.integrations.odoo import LOOPBACK, Crm, new_digits

BY_TEXT = "a number in the text of its phone field"
BY_EXTENSION = "a number with an extension, of the same line"
BY_COUNTRY = "a number without a country code, read as the caller's country writes it"


class Line(Outgoing):
    """Keeps the requests, and loses those that it is told to: before they are sent, or their answers."""

    def __init__(self, lost: int = 0, sent: bool = True) -> None:
        super().__init__(LOOPBACK, total_seconds=15)
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.lost, self.sent = lost, sent

    def post_json(self, url: str, body: Any, headers: Mapping[str, str], deadline: float | None = None) -> Answer:
        self.requests.append((url.split("/json/2/")[1], body))
        lost = len(self.requests) == self.lost
        if lost and not self.sent:
            raise NoAnswer("No answer came in time.")
        answer = super().post_json(url, body, headers, deadline)
        if lost:
            raise NoAnswer("No answer came in time.")
        return answer


TYPED = [
    ("030 7654321 / 0151 2{0}", "", "+491512{0}", BY_TEXT),
    ("0151 2{0} oder 030 7654321", "", "+491512{0}", BY_TEXT),
    ("030 7654321, 0151 2{0}", "", "+491512{0}", BY_TEXT),
    ("+49 30 {0} (Herr Meier)", "", "+4930{0}", BY_TEXT),
    ("Tel. 030 {0} abends", "", "+4930{0}", BY_TEXT),
    ("030 {0}", "FR", "+4930{0}", BY_TEXT),
    ("030 {0} (9-17 Uhr)", "", "+4930{0}", BY_TEXT),
    ("+49 30\u00a0{0} – Büro", "", "+4930{0}", BY_TEXT),
    ("٠٣٠ {1} / ٠٣٠ ٧٦٥٤٣٢١", "", "+4930{0}", BY_TEXT),
    ("0043 664 {0} Frau Huber", "", "+43664{0}", BY_TEXT),
    ("0664 {0}", "", "+43664{0}", BY_COUNTRY),
    ("030 7654321 / 0664 {0}", "", "+43664{0}", BY_COUNTRY),
    ("030 {0}-12", "", "+4930{0}", BY_EXTENSION),
    ("030 {0}-0 (Zentrale)", "", "+4930{0}", BY_EXTENSION),
    ("030 {0} Durchwahl 12", "", "+4930{0}12", BY_EXTENSION),
    ("+52 1 55 2{0} / +52 55 76543210", "", "+52552{0}", BY_TEXT),
    ("+52 55 2{0} / +52 55 76543210", "", "+521552{0}", BY_TEXT),
    ("011 15-2{0} (celular)", "AR", "+54112{0}", BY_TEXT),
    ("0049 30 {0}", "", "+4930{0}", "its phone number"),
    ("(030) {0}", "", "+4930{0}", "its phone number"),
    ("+49 (0)30 {0}", "", "+4930{0}", "its phone number"),
    ("030 {0}-12", "", "+4930{0}12", "its phone number"),
    ("0664 {0}", "AT", "+43664{0}", "its phone number"),
    ("+52 1 55 2{0}", "", "+52552{0}", "its phone number"),
    ("+52 55 2{0}", "", "+521552{0}", "its phone number"),
]
NOBODYS = [
    ("0151 2{0} / 030 7654321", "", "+431512{0}"),
    ("+43 30 {0} (Herr Meier)", "", "+4930{0}"),
    ("+41 30 {0} / +41 44 6543210", "", "+4930{0}"),
    ("030 {0} / 030 7654321", "", "+39030{0}"),
    ("030 {0}-12 (Frau Kern)", "", "+4930{0}13"),
    ("030 {0}1 (Herr Meier)", "", "+4930{0}"),
    ("0{0} / 030 7654321", "", "+4930{0}"),
    ("0664{0}", "", "+43664{0}"),
]


def typed(template: str, digits: str) -> str:
    return template.format(digits, digits.translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")))


@pytest.mark.parametrize(("text", "country", "caller", "match"), TYPED)
def test_r10_a_contact_is_known_by_its_phone_field_as_people_type_it(
    crm: Crm, text: str, country: str, caller: str, match: str
) -> None:
    digits = new_digits()
    crm.caller = caller.format(digits)
    contact = crm.make("res.partner", name="Herr Meier", phone=typed(text, digits), country=country)
    answer, steps = crm.send(crm.message())
    assert (answer["model"], answer["record"], steps["match"]) == ("res.partner", contact, match)
    assert crm.leads() == []
    assert len(crm.notes(contact, "res.partner")) == 1


@pytest.mark.parametrize(("text", "country", "caller", "match"), TYPED)
def test_r10_an_open_deal_is_known_by_its_phone_field_as_people_type_it(
    crm: Crm, text: str, country: str, caller: str, match: str
) -> None:
    digits = new_digits()
    crm.caller = caller.format(digits)
    deal = crm.make("crm.lead", name="Garden", phone=typed(text, digits), country=country)
    answer, steps = crm.send(crm.message(config={"only_new_customers": False}))
    assert (answer["model"], answer["record"], steps["match"]) == ("crm.lead", deal, match)
    assert crm.known == str(deal)
    assert len(crm.notes(deal)) == 1


@pytest.mark.parametrize("model", ["res.partner", "crm.lead"])
@pytest.mark.parametrize(("text", "country", "caller"), NOBODYS)
def test_r10_somebody_with_the_same_digits_is_not_taken_for_the_caller(
    crm: Crm, model: str, text: str, country: str, caller: str
) -> None:
    digits = new_digits()
    crm.caller = caller.format(digits)
    crm.make(model, name="Herr Meier", phone=typed(text, digits), country=country)
    answer, steps = crm.send(crm.message())
    assert answer["model"] == "crm.lead"
    assert crm.lead(answer["record"])["name"] == f"Call from {crm.caller}"
    assert "match" not in steps


@pytest.mark.parametrize("text", ["030 {0}", "030 {0} / 0151 23460002"])
def test_r10_a_deal_without_a_number_is_known_by_its_contacts_phone_field(crm: Crm, text: str) -> None:
    digits = new_digits()
    crm.caller = f"+4930{digits}"
    contact = crm.make("res.partner", name="Herr Meier", phone=text.format(digits))
    deal = crm.make("crm.lead", name="Garden", partner_id=contact)
    crm.ask("crm.lead", "write", ids=[deal], vals={"phone": False})
    assert crm.lead(deal)["phone"] is False
    answer, _ = crm.send(crm.message(config={"only_new_customers": False}))
    assert (answer["model"], answer["record"]) == ("crm.lead", deal)


def test_r10_the_order_is_open_deals_then_odoos_own_reading_then_the_text_then_the_newest(crm: Crm) -> None:
    digits = new_digits()
    crm.caller = f"+4930{digits}"
    exact, text = f"030 {digits}", f"030 {digits} / 0151 23460002"
    won = crm.make("crm.lead", name="Won", phone=exact)
    crm.ask("crm.lead", "action_set_won", ids=[won])
    assert crm.send(replace(crm.message(), known_lead=None))[0]["record"] == won
    older = crm.make("crm.lead", name="Older", phone=text)
    assert crm.send(replace(crm.message(), known_lead=None))[0]["record"] == older
    newer = crm.make("crm.lead", name="Newer", phone=text)
    assert crm.send(replace(crm.message(), known_lead=None))[0]["record"] == newer
    crm.make("crm.lead", name="Extension", phone=f"030 {digits}-12 (Frau Kern)")
    assert crm.send(replace(crm.message(), known_lead=None))[0]["record"] == newer
    assert crm.send(replace(crm.message(), known_lead=str(older)))[0]["record"] == older
    open_one = crm.make("crm.lead", name="Open", phone=exact)
    assert crm.send(replace(crm.message(), known_lead=None))[0]["record"] == open_one


def test_r10_of_several_contacts_the_oldest_gets_the_notes_and_an_extension_comes_last(crm: Crm) -> None:
    digits = new_digits()
    crm.caller = f"+4930{digits}"
    crm.make("res.partner", name="Frau Kern", phone=f"030 {digits}-12 (Frau Kern)")
    first = crm.make("res.partner", name="First", phone=f"030 {digits} / 0151 23460002")
    crm.make("res.partner", name="Second", phone=f"030 {digits} / 0151 23460002")
    assert crm.send(crm.message())[0]["record"] == first
    exact = crm.make("res.partner", name="Exact", phone=f"030 {digits}")
    assert crm.send(crm.message())[0]["record"] == exact


@pytest.mark.parametrize("text", ["030 {0}", "030 {0} / 0151 23460002"])
def test_r10_an_archived_contact_gets_no_note_that_nobody_reads(crm: Crm, text: str) -> None:
    digits = new_digits()
    crm.caller = f"+4930{digits}"
    contact = crm.make("res.partner", name="Gone", phone=text.format(digits))
    crm.ask("res.partner", "write", ids=[contact], vals={"active": False})
    assert crm.send(crm.message())[0]["model"] == "crm.lead"
    assert crm.notes(contact, "res.partner") == []


def test_r10_with_both_switches_off_each_call_is_a_lead_and_nobody_is_searched_for(crm: Crm) -> None:
    digits = new_digits()
    crm.caller = f"+4930{digits}"
    crm.make("crm.lead", name="Garden", phone=f"030 {digits}")
    line = Line()
    crm.send(crm.message(config={"only_new_customers": False, "not_while_open": False}), line)
    assert len(crm.leads()) == 2
    assert "res.partner/search_read" not in [method for method, _ in line.requests]


def test_the_exact_requests_for_a_new_caller(crm: Crm) -> None:
    crm.caller = f"+52812{new_digits()}"  # no text of another test has these digits in this order
    national = crm.caller.removeprefix("+52")
    spellings = [crm.caller, f"+521{national}"]
    line = Line()
    source = {"source": "", "medium": "", "campaign": ""}
    message = crm.message(call={"source": source}, config={"fields": {"name": "New: {phone}"}})
    answer, _ = crm.send(message, line)
    scripts = [str.maketrans("0123456789", digits) for digits in ("٠١٢٣٤٥٦٧٨٩", "۰۱۲۳۴۵۶۷۸۹", "０１２３４５６７８９")]
    rows = [national, *(national.translate(script) for script in scripts)]
    like = [["phone", "=like", f"%{'%'.join(row)}%"] for row in rows]
    by_text = ["&", "!", ["phone", "=like", "_" * 101 + "%"], "|", "|", "|", *like]
    archived = {"active_test": False}
    fields = ["phone", "country_id", "company_id", "partner_id", "active", "won_status"]
    sid = message.call["sid"]
    values = {"phone": crm.caller, "name": f"New: {crm.caller}", "user_id/.id": ""}
    (note,) = crm.notes(answer["record"])
    (*looked, own, load, read_back, posted) = line.requests
    assert looked == [
        (
            "crm.lead/search_read",
            {
                "domain": ["|", ["phone_sanitized", "in", spellings], ["partner_id.phone_sanitized", "in", spellings]],
                "fields": ["id", "active", "won_status"],
                "order": "id desc",
                "limit": 50,
                "context": archived,
            },
        ),
        (
            "res.partner/search_read",
            {"domain": [["phone_sanitized", "in", spellings]], "fields": ["id"], "order": "id", "limit": 50},
        ),
        (
            "res.partner/search_read",
            {
                "domain": by_text,
                "fields": ["phone", "country_code", "company_id"],
                "limit": PAGE,
                "offset": 0,
                "order": "id",
            },
        ),
        (
            "crm.lead/search_read",
            {
                "domain": by_text,
                "fields": fields,
                "limit": PAGE,
                "offset": 0,
                "order": "id desc",
                "context": archived,
            },
        ),
    ]
    name = f"calltrack.lead_{sid}"
    assert own == ("crm.lead/load", {"fields": ["id"], "data": [[name]]}), "without values it makes nothing"
    assert load[0] == "crm.lead/load"
    loaded = dict(zip(load[1]["fields"], load[1]["data"][0], strict=True))
    assert {name: loaded[name] for name in values} == values
    assert loaded["id"] == name
    assert read_back[0] == "crm.lead/search_read"
    assert (posted[0], posted[1]["ids"], posted[1]["body_is_html"]) == (
        "crm.lead/message_post",
        [answer["record"]],
        True,
    )
    assert f"Call id: {sid}" in note


def test_a_caller_with_an_open_deal_costs_one_search(crm: Crm) -> None:
    crm.send(crm.message())
    line = Line()
    crm.send(crm.message(), line)
    assert [method for method, _ in line.requests] == [
        "crm.lead/search_read",
        "mail.message/search_read",
        "crm.lead/message_post",
    ]


def test_the_company_of_the_contact_reads_its_number(crm: Crm) -> None:
    digits = new_digits()
    crm.caller = f"+4930{digits}"
    contact = crm.make("res.partner", name="Frau Kern", phone=f"030 {digits}, 030 7654321", company_id=1)
    message = replace(crm.message(), country="US")
    line = Line()
    assert crm.send(message, line)[0]["record"] == contact
    assert [method for method, _ in line.requests].count("res.company/search_read") == 1


def test_the_project_reads_a_number_where_company_and_contact_have_no_country(crm: Crm) -> None:
    crm.ask("res.company", "write", as_admin=True, ids=[1], vals={"country_id": False})
    digits = new_digits()
    crm.caller = f"+4930{digits}"
    contact = crm.make("res.partner", name="Frau Kern", phone=f"030 {digits}")
    assert crm.send(replace(crm.message(), country="DE"))[0]["record"] == contact


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("step", [*range(1, 12), 13])
def test_a_time_out_at_any_step_makes_no_second_lead_and_loses_none(crm: Crm, step: int, sent: bool) -> None:
    """A candidate of each kind is judged on the way, and every name in the settings is looked up."""
    digits = new_digits()
    crm.caller = f"+4930{digits}"
    for model in ("res.partner", "crm.lead"):
        crm.make(model, name="Somebody else", phone=f"+43 30 {digits} / 0151 23460002", country="FR")
    config = {"manager": "nobody@example.com", "fallback_manager": "admin", "fields": {"team_id": "No such team"}}
    message = crm.message(config=config, call={"source": {}})
    line = Line(step, sent)
    with pytest.raises(DeliveryError) as refused:
        crm.send(message, line)
    assert (len(line.requests), refused.value.permanent) == (step, False)
    answer, steps = crm.again(message)
    lead = crm.lead(steps["lead_id"])
    assert [one["id"] for one in crm.leads()] == [lead["id"]]
    assert lead["user_id"][1] == "Administrator"
    assert len(crm.notes(lead["id"])) == 1
    assert "nobody@example.com" in answer["warning"]
    assert "No such team" in answer["warning"]


def test_the_time_outs_above_are_at_every_step_there_is(crm: Crm) -> None:
    digits = new_digits()
    crm.caller = f"+4930{digits}"
    for model in ("res.partner", "crm.lead"):
        crm.make(model, name="Somebody else", phone=f"+43 30 {digits} / 0151 23460002", country="FR")
    config = {"manager": "nobody@example.com", "fallback_manager": "admin", "fields": {"team_id": "No such team"}}
    line = Line()
    crm.send(crm.message(config=config, call={"source": {}}), line)
    assert [method for method, _ in line.requests] == [
        *("crm.lead/search_read", "res.partner/search_read", "res.partner/search_read", "res.company/search_read"),
        *("crm.lead/search_read", "res.country/search_read", "crm.lead/load"),
        *("res.users/search_read", "res.users/search_read"),
        *("crm.lead/load", "crm.lead/load", "crm.lead/search_read", "crm.lead/message_post"),
    ]


@pytest.mark.parametrize("step", range(1, 7))
def test_a_time_out_while_a_known_customer_is_told_writes_one_note(crm: Crm, step: int) -> None:
    digits = new_digits()
    crm.caller = f"+4930{digits}"
    contact = crm.make("res.partner", name="Frau Kern", phone=f"030 {digits} / 030 7654321")
    message = crm.message()
    with pytest.raises(DeliveryError):
        crm.send(message, Line(step))
    crm.again(message)
    assert len(crm.notes(contact, "res.partner")) == 1
    assert crm.leads() == []


def test_candidates_are_judged_page_by_page_and_no_more_than_the_limit(stand_in: tuple[OdooFake, str]) -> None:
    """On the stand-in alone: a real CRM would keep the decoys."""
    fake, url = stand_in
    crm = Crm(url, "crmtest", "the-key", "the-key")
    digits = new_digits()
    crm.caller = f"+4930{digits}"
    decoys = [crm.make("res.partner", name="Decoy", phone=f"+43 30 {digits} ({count})") for count in range(PAGE + 5)]
    contact = crm.make("res.partner", name="Herr Meier", phone=f"030 {digits} / 030 7654321")
    line = Line()
    assert crm.send(crm.message(), line)[0]["record"] == contact
    pages = [body["offset"] for method, body in line.requests if method.startswith("res.partner") and "offset" in body]
    assert pages == [0, PAGE]
    crm.ask("res.partner", "unlink", ids=[*decoys, contact])
    for count in range(PAGE * MOST_PAGES + 1):
        decoys.append(crm.make("res.partner", name="Decoy", phone=f"+43 30 {digits} ({count})"))
    line = Line()
    assert crm.send(crm.message(), line)[0]["model"] == "crm.lead"
    assert sum(method.startswith("res.partner") for method, _ in line.requests) == 1 + MOST_PAGES
    assert fake.records.tables["res.partner"]


def test_a_text_of_any_length_costs_no_lead(crm: Crm) -> None:
    """What strangers can type into a form of the web site must not make an answer too long to be read."""
    digits = new_digits()
    crm.caller = f"+4930{digits}"
    for _ in range(3):
        crm.make("crm.lead", name="Form", phone=f"030 {digits} " * 2_000)
    assert crm.send(crm.message())[0]["model"] == "crm.lead"
