"""Settings, Tag, and the same for programs."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from router.accounts.models import AuditEntry, Project
from router.db import Database
from tests.people import Cast, bearer, sign_in

pytestmark = pytest.mark.one_database

STORED = {
    "consent": "limited",
    "gpc_refuses": True,
    "tag_address": "https://calls.example.com",
    "staff_addresses": ["203.0.113.7", "2001:db8::/48"],
    "ignore_automation": True,
    "unwanted_referrals": ["pay.example.org", "*.tickets.example"],
}
TYPED = {
    "version": "1",
    "consent": "limited",
    "gpc_refuses": "1",
    "tag_address": " https://Calls.example.com/ ",
    "staff_addresses": "203.0.113.7\r\n2001:DB8::/48",
    "ignore_automation": "1",
    "unwanted_referrals": "https://Pay.Example.org/checkout\r\n*.tickets.example",
}


def tag_of(database: Database, cast: Cast) -> dict[str, Any]:
    with database.reading() as session:
        project = session.get_one(Project, cast.project.id)
        return {name: getattr(project, name) for name in STORED}


def change_by_api(client: FlaskClient, cast: Cast, token: str, **body: Any) -> Any:
    return client.patch(f"/api/v1/projects/{cast.project.id}", json=body, headers=bearer(token))


def test_an_admin_saves_them_and_the_trail_tells_what_changed(
    client: FlaskClient, cast: Cast, database: Database
) -> None:
    alice = sign_in(client, cast.alice)
    assert alice.post("/settings/tag", data=TYPED).status_code == 302
    assert tag_of(database, cast) == STORED
    with database.reading() as session:
        [entry] = session.scalars(select(AuditEntry))
    assert (entry.action, entry.detail) == (
        "tag changed",
        {name: [before, STORED[name]] for name, before in zip(STORED, ["full", False, "", [], False, []], strict=True)},
    )
    page = alice.get("/settings/tag").text
    assert "203.0.113.7\n2001:db8::/48</textarea>" in page
    assert "pay.example.org\n*.tickets.example</textarea>" in page
    assert 'name="ignore_automation" value="1" checked' in " ".join(page.split())
    assert "cookie and click ids wait until they have agreed" in page


def test_who_saves_an_older_version_is_told_and_overwrites_nothing(
    client: FlaskClient, cast: Cast, database: Database
) -> None:
    alice = sign_in(client, cast.alice)
    alice.post("/settings/tag", data=TYPED)
    answer = alice.post("/settings/tag", data=TYPED | {"consent": "none"})
    assert answer.status_code == 409
    assert "Somebody else changed the project" in answer.text
    assert tag_of(database, cast) == STORED


def test_what_cannot_be_used_is_said_beside_its_field_and_nothing_typed_is_lost(
    client: FlaskClient, cast: Cast, database: Database
) -> None:
    alice = sign_in(client, cast.alice)
    foreign = alice.post("/settings/tag", data=TYPED | {"tag_address": "https://calls.example.net"})
    assert foreign.status_code == 422
    assert 'id="tag_address-error">https://calls.example.net has to be an address of shop.example.com' in foreign.text
    assert "203.0.113.7\r\n2001:DB8::/48</textarea>" in foreign.text
    assert 'id="staff_addresses-error">“office”' in alice.post("/settings/tag", data={"staff_addresses": "office"}).text
    wide = alice.post("/settings/tag", data=TYPED | {"unwanted_referrals": "pay.example.org *.com"}).text
    assert 'id="unwanted_referrals-error">“*.com” is too wide: name a domain, like *.example.com.' in wide
    assert "pay.example.org *.com</textarea>" in wide
    assert tag_of(database, cast)["consent"] == "full"


@pytest.mark.parametrize(
    ("peer", "listed"), [("198.51.100.4", "198.51.100.4"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64")]
)
def test_an_admin_keeps_his_own_visits_out_without_knowing_his_address(
    client: FlaskClient, cast: Cast, database: Database, peer: str, listed: str
) -> None:
    alice, here = sign_in(client, cast.alice), {"environ_base": {"REMOTE_ADDR": peer}}
    assert f"You come from {peer}." in alice.get("/settings/tag", **here).text
    alice.post("/settings/tag", data={"version": "1", "staff_addresses": "", "add_mine": "1"}, **here)
    assert tag_of(database, cast)["staff_addresses"] == [listed]
    assert ", which is on the list." in alice.get("/settings/tag", **here).text


def test_a_viewer_sees_them_and_changes_nothing(client: FlaskClient, cast: Cast, database: Database) -> None:
    bob = sign_in(client, cast.bob)
    assert "<fieldset disabled>" in bob.get("/settings/tag").text
    assert bob.post("/settings/tag", data=TYPED).status_code == 403
    assert tag_of(database, cast)["tag_address"] == ""


def test_the_projects_form_keeps_them_and_names_the_address_that_no_longer_fits(
    client: FlaskClient, cast: Cast, database: Database
) -> None:
    alice = sign_in(client, cast.alice)
    alice.post("/settings/tag", data=TYPED)
    form = {name: getattr(cast.project, name) for name in ("name", "country", "timezone", "currency", "email")}
    form |= {"fallback_destination": "+14155550100", "visit_gap_seconds": "900", "version": "2"}
    assert alice.post("/settings", data=form | {"site": "www.example.com"}).status_code == 302
    assert tag_of(database, cast) == STORED
    elsewhere = alice.post("/settings", data=form | {"site": "example.org", "version": "3"})
    assert elsewhere.status_code == 422
    assert 'id="site-error">https://calls.example.com has to be an address of example.org' in elsewhere.text


def test_a_program_reads_changes_and_resets_them(client: FlaskClient, cast: Cast, database: Database) -> None:
    changed = change_by_api(client, cast, cast.alice_token, version=1, **STORED)
    assert {name: changed.get_json()[name] for name in STORED} == STORED
    reset = change_by_api(client, cast, cast.alice_token, version=2, **dict.fromkeys(STORED))
    assert {name: reset.get_json()[name] for name in STORED} == {
        "consent": "full",
        "gpc_refuses": False,
        "tag_address": None,
        "staff_addresses": [],
        "ignore_automation": False,
        "unwanted_referrals": [],
    }
    assert change_by_api(client, cast, cast.alice_token, version=2, consent="none").status_code == 409
    assert change_by_api(client, cast, cast.bob_token, version=3, consent="none").status_code == 403


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("consent", "maybe"), ("consent", 1), ("gpc_refuses", "yes"), ("gpc_refuses", 1), ("tag_address", 7),
        ("tag_address", "http://calls.example.com"), ("tag_address", "https://calls.example.net"), ("tag_address", "https://com"),
        ("staff_addresses", {"a": 1}), ("staff_addresses", [1]), ("staff_addresses", ["0.0.0.0/0"]),
        ("ignore_automation", "yes"), ("ignore_automation", 1), ("unwanted_referrals", 1), ("unwanted_referrals", [1]),
        ("unwanted_referrals", ["*"]), ("unwanted_referrals", ["*.co.uk"]), ("unwanted_referrals", "a b.c d/e f<g"),
    ],
)  # fmt: skip
def test_a_program_is_told_which_field_cannot_be_used(
    client: FlaskClient, cast: Cast, database: Database, field: str, value: Any
) -> None:
    answer = change_by_api(client, cast, cast.alice_token, version=1, **{field: value})
    assert (answer.status_code, answer.get_json()["field"]) == (422, field)
