"""R10 in Odoo: what the settings name and Odoo does not have (any more) costs no lead, and the delivery says so."""

import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from router.integrations.base import DeliveryError
from router.integrations.crm.connector import Access, FieldsRefused
from router.integrations.odoo.client import OdooClient
from router.lib.http_client import Answer, Outgoing
from tests.integrations.odoo import LOOPBACK, Crm
from tests.integrations.receiver import receiver


def make_user(crm: Crm, group: str = "group_user") -> tuple[int, str]:
    """An internal or portal user, and his login."""
    login = f"bob-{secrets.token_hex(6)}@example.com"
    values: dict[str, Any] = {"name": "Bob", "login": login, "email": login}
    if crm.key == "the-key":
        values["share"] = group != "group_user"
    else:
        domain = [["module", "=", "base"], ["name", "=", group]]
        (found,) = crm.ask("ir.model.data", "search_read", as_admin=True, domain=domain, fields=["res_id"])
        values["group_ids"] = [[6, 0, [found["res_id"]]]]
    (number,) = crm.ask("res.users", "create", as_admin=True, vals_list=[values])
    return int(number), login


def send_with(crm: Crm, **config: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The new lead, what the delivery answered, and what it remembered."""
    answer, steps = crm.send(crm.message(config=config))
    return crm.lead(answer["record"]), answer, steps


@pytest.mark.parametrize("by", ["login", "id"])
def test_r10_a_user_who_is_there_is_responsible_and_nothing_is_missing(crm: Crm, by: str) -> None:
    number, login = make_user(crm)
    lead, answer, steps = send_with(crm, manager=login if by == "login" else str(number), fallback_manager="admin")
    assert lead["user_id"] == [number, "Bob"]
    assert "warning" not in answer
    assert steps["missing"] == []


@pytest.mark.parametrize("by", ["login", "id"])
@pytest.mark.parametrize(
    ("fate", "why"),
    [
        ("archived", "“{}” is archived in Odoo"),
        ("deleted", "Odoo has no user “{}”"),
        ("portal", "“{}” is no internal user of Odoo any more"),
    ],
)
@pytest.mark.parametrize(("fallback", "owner"), [("admin", "Administrator"), ("", "nobody")])
def test_r10_a_person_who_is_gone_is_told_and_the_lead_goes_to_the_fallback(
    crm: Crm, by: str, fate: str, why: str, fallback: str, owner: str
) -> None:
    number, login = make_user(crm, "group_portal" if fate == "portal" else "group_user")
    if fate == "archived":
        crm.ask("res.users", "write", as_admin=True, ids=[number], vals={"active": False})
    if fate == "deleted":
        crm.ask("res.users", "unlink", as_admin=True, ids=[number])
    name = login if by == "login" else str(number)
    lead, answer, steps = send_with(crm, manager=name, fallback_manager=fallback)
    assert (lead["user_id"] and lead["user_id"][1]) == (owner if fallback else False)
    told = f"{why.format(name)}: the lead belongs to {owner}"
    assert answer["warning"] == steps["warning"] == told
    assert steps["missing"] == [{"what": "manager", "name": name, "why": told}]
    assert len(crm.notes(lead["id"])) == 1


def test_r10_both_persons_may_be_gone(crm: Crm) -> None:
    lead, answer, steps = send_with(crm, manager="no-one@example.com", fallback_manager="99999999999")
    assert lead["user_id"] is False
    assert answer["warning"] == (
        "Odoo has no user “no-one@example.com”: the lead belongs to nobody; "
        "Odoo has no user “99999999999”: the lead belongs to nobody"
    )
    assert [one["name"] for one in steps["missing"]] == ["no-one@example.com", "99999999999"]


def test_r10_somebody_who_came_back_with_the_same_address_is_responsible(crm: Crm) -> None:
    number, login = make_user(crm)
    crm.ask("res.users", "write", as_admin=True, ids=[number], vals={"active": False, "login": f"old-{login}"})
    (again,) = crm.ask(
        "res.users", "create", as_admin=True, vals_list=[{"name": "Bob again", "login": login, "email": login}]
    )
    lead, answer, _ = send_with(crm, manager=login.upper())
    assert lead["user_id"] == [again, "Bob again"]
    assert "warning" not in answer


def test_r10_wildcards_in_a_name_stand_for_themselves(crm: Crm) -> None:
    lead, answer, _ = send_with(crm, manager="adm%", fallback_manager="_dmin")
    assert lead["user_id"] is False
    assert "“adm%”" in answer["warning"]


@pytest.mark.parametrize(
    ("fields", "lacking", "revenue"),
    [
        ({"team_id": "No such team"}, ["team_id"], 0),
        ({"tag_ids": "No such tag"}, ["tag_ids"], 0),
        ({"country_id": "Atlantis"}, ["country_id"], 0),
        ({"expected_revenue": "a lot"}, ["expected_revenue"], 0),
        ({"no_such_field": "x", "expected_revenue": "12"}, ["no_such_field"], 12),
        ({"no_such": "x", "no_other": "y", "team_id": "No such team"}, ["no_such", "no_other", "team_id"], 0),
        ({"team_id": "No such team", "tag_ids": "Tag", "expected_revenue": "12"}, ["team_id", "tag_ids"], 12),
    ],
)
def test_r10_what_a_field_names_and_odoo_lacks_is_left_out_and_told(
    crm: Crm, fields: dict[str, str], lacking: list[str], revenue: float
) -> None:
    lead, answer, steps = send_with(crm, manager="admin", fields=fields | {"contact_name": "Caller"})
    assert lead["user_id"][1] == "Administrator"
    assert lead["expected_revenue"] == revenue
    assert {one["what"]: one["name"] for one in steps["missing"]} == {name: fields[name] for name in lacking}
    assert all(f"The lead was made without {name}: " in answer["warning"] for name in lacking)
    assert len(crm.leads()) == 1


class Deleting(Outgoing):
    """Something happens in Odoo between the look-up of a user and what follows."""

    def __init__(self, happens: Callable[[], Any]) -> None:
        super().__init__(LOOPBACK, total_seconds=15)
        self.happens = happens

    def post_json(self, url: str, body: Any, headers: Mapping[str, str], deadline: float | None = None) -> Answer:
        answer = super().post_json(url, body, headers, deadline)
        if url.endswith("res.users/search_read"):
            self.happens()
        return answer


def test_r10_a_person_who_is_deleted_at_the_last_moment_costs_no_lead(crm: Crm) -> None:
    number, login = make_user(crm)
    outgoing = Deleting(lambda: crm.ask("res.users", "unlink", as_admin=True, ids=[number]))
    answer, steps = crm.send(crm.message(config={"manager": login}), outgoing)
    assert crm.lead(answer["record"])["user_id"] is False
    assert answer["warning"] == f"“{login}” cannot be responsible in Odoo: the lead belongs to nobody"
    assert [one["name"] for one in steps["missing"]] == [login]


def test_r10_a_team_that_is_there_is_kept_and_one_that_was_archived_is_told(crm: Crm) -> None:
    name = f"Team {secrets.token_hex(4)}"
    team = crm.make("crm.team", name=name)
    lead, answer, _ = send_with(crm, fields={"team_id": name})
    assert lead["team_id"] == [team, name]
    assert "warning" not in answer
    crm.ask("crm.team", "write", ids=[team], vals={"active": False})
    _, answer, _ = send_with(crm, fields={"team_id": name}, only_new_customers=False, not_while_open=False)
    assert name in answer["warning"]


def test_r10_a_field_filled_from_the_call_is_told_by_its_delivery_alone(crm: Crm) -> None:
    """Its value differs from call to call: an e-mail for each would be too many."""
    _, answer, steps = send_with(crm, fields={"team_id": "Team {utmCampaign}"})
    assert "Team spring" in answer["warning"]
    assert steps["missing"] == []


@pytest.mark.parametrize(("model", "part"), [("utm.campaign", "campaign"), ("utm.medium", "medium")])
def test_r10_an_archived_campaign_or_medium_is_used_and_costs_no_lead(crm: Crm, model: str, part: str) -> None:
    """Odoo takes no second one of this name, archived or not."""
    name = f"winter-{secrets.token_hex(4)}"
    number = crm.make(model, name=name)
    crm.ask(model, "write", ids=[number], vals={"active": False})
    source = {"source": "", "medium": "", "campaign": ""} | {part: name.upper()}
    answer, _ = crm.send(crm.message(call={"source": source}))
    assert crm.lead(answer["record"])[f"{part}_id"][0] == number
    assert "warning" not in answer


def test_r10_what_a_resumed_delivery_had_to_leave_out_is_told_when_it_ends(crm: Crm) -> None:
    message = crm.message(config={"manager": "nobody@example.com"})
    _, steps = crm.send(message)
    resumed, _ = crm.send(crm.message(reference=steps, call={"sid": message.call["sid"]}))
    assert resumed["warning"] == steps["warning"]


@pytest.mark.parametrize(
    ("messages", "refused"),
    [
        ([{"field": "team_id", "message": "No matching record found"}], {"team_id": "No matching record found"}),
        ([{"field": "", "message": "A rule of this company"}], None),
        ([{"message": "A rule of this company"}, {"field": "team_id", "message": "x"}], None),
        ([], None),
    ],
)
def test_only_refusals_that_name_their_fields_can_be_mended(
    messages: list[dict[str, str]], refused: dict[str, str] | None
) -> None:
    content = json.dumps({"ids": False, "messages": messages}).encode()
    with receiver(lambda request: (200, {}, content)) as inbox:
        message = Crm(inbox.url, "db", "the-key", "").message(deadline=time.monotonic() + 5)
        client = OdooClient(Outgoing(LOOPBACK), Access.of(message))
        with pytest.raises(DeliveryError) as error:
            client.load("crm.lead", "calltrack.x", {"name": "x"})
    assert error.value.permanent
    assert (error.value.fields if isinstance(error.value, FieldsRefused) else None) == refused


def test_a_lead_whose_own_name_is_refused_is_given_up_with_odoos_words(crm: Crm) -> None:
    content = json.dumps({"ids": False, "messages": [{"field": "name", "message": "Not this one"}]}).encode()

    def answer(request: Any) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, content if request.path.endswith("crm.lead/load") else b"[]"

    with receiver(answer) as inbox:
        crm.url = inbox.url
        with pytest.raises(DeliveryError, match="Not this one") as refused:
            crm.send(crm.message(call={"source": {}}))
    assert refused.value.permanent
