"""Pages of projects, settings, people, tokens, the audit trail and one's own profile."""

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from router.accounts.members import membership_of
from router.accounts.models import ApiToken, AuditEntry, Membership, Person, Project
from router.db import Database
from tests.factories import PASSWORD, make_member
from tests.people import PROJECT_VALUES, Cast, bearer, sign_in

pytestmark = pytest.mark.one_database


@pytest.fixture
def alice(client: FlaskClient, cast: Cast) -> FlaskClient:
    return sign_in(client, cast.alice)


@pytest.fixture
def olivia(client: FlaskClient, cast: Cast) -> FlaskClient:
    return sign_in(client, cast.olivia)


def shown_once(html: str) -> str:
    found = re.search(r"<pre[^>]*>([^<]+)</pre>", html)
    assert found is not None
    return found.group(1)


def test_the_operator_makes_a_project_and_works_in_it(olivia: FlaskClient, database: Database) -> None:
    assert 'name="timezone"' in olivia.get("/projects/new").text
    made = olivia.post("/projects", data=PROJECT_VALUES | {"name": "Third", "site": "a.example, https://b.example/x"})
    assert made.status_code == 302
    with database.reading() as session:
        project = session.scalars(select(Project).where(Project.name == "Third")).one()
    assert project.site == ["a.example", "b.example"]
    assert "Third is tracked on a.example, b.example" in olivia.get("/settings").text


def test_what_was_typed_is_kept_and_every_mistake_shown(olivia: FlaskClient, database: Database) -> None:
    bad = PROJECT_VALUES | {"name": "My <b>Shop", "email": "nobody", "site": ""}
    answer = olivia.post("/projects", data=bad)
    assert answer.status_code == 422
    assert "My &lt;b&gt;Shop" in answer.text
    assert "is not an e-mail address" in answer.text
    assert "Name the host" in answer.text
    assert olivia.post("/projects", data={}).status_code == 422
    with database.reading() as session:
        assert len(session.scalars(select(Project)).all()) == 2


def test_the_operator_suspends_and_resumes(olivia: FlaskClient, cast: Cast, database: Database) -> None:
    address = f"/projects/{cast.project.id}/suspend"
    assert "is suspended" in olivia.post(address, data={"on": "1"}, follow_redirects=True).text
    with database.reading() as session:
        assert session.get_one(Project, cast.project.id).suspended_at is not None
    assert "running again" in olivia.post(address, data={"on": ""}, follow_redirects=True).text
    with database.reading() as session:
        assert session.get_one(Project, cast.project.id).suspended_at is None
        actions = session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert actions == ["project suspended", "project resumed"]


def test_an_owner_makes_and_suspends_no_project(alice: FlaskClient, cast: Cast) -> None:
    assert alice.get("/projects/new").status_code == 403
    assert alice.post("/projects", data=PROJECT_VALUES).status_code == 403
    assert alice.post(f"/projects/{cast.project.id}/suspend", data={"on": "1"}).status_code == 403


def test_a_person_of_two_projects_switches_between_them(alice: FlaskClient, cast: Cast, database: Database) -> None:
    with database.writing() as session:
        make_member(session, cast.other_project, cast.alice, "viewer")
    assert "Alice&#39;s Shop is tracked" in alice.get("/settings").text
    assert alice.post(f"/projects/{cast.other_project.id}/open").status_code == 302
    assert "Charlie&#39;s Garage is tracked" in alice.get("/settings").text
    assert alice.post("/settings", data=PROJECT_VALUES | {"version": "1"}).status_code == 403


def test_settings_are_changed_once_by_two_who_read_the_same(alice: FlaskClient, cast: Cast, database: Database) -> None:
    values = PROJECT_VALUES | {"visit_gap_seconds": "900", "source_days": "0", "version": "1"}
    assert alice.post("/settings", data=values | {"name": "Alice & Co"}).status_code == 302
    late = alice.post("/settings", data=values | {"name": "Too late"})
    assert late.status_code == 409
    assert "Somebody else changed the project meanwhile" in late.text
    assert alice.post("/settings", data=values | {"version": "x"}).status_code == 409
    with database.reading() as session:
        project = session.get_one(Project, cast.project.id)
        assert (project.name, project.visit_gap_seconds, project.version) == ("Alice & Co", 900, 2)
        entry = session.scalars(select(AuditEntry)).one()
    assert entry.detail == {
        "name": ["Alice's Shop", "Alice & Co"],
        "visit_gap_seconds": [1800, 900],
        "source_days": [30, 0],
    }
    trail = alice.get("/settings/audit").text
    assert "Project changed" in trail
    assert "Alice &amp; Co" in trail


def test_r7_what_repeat_calls_are_credited_to_is_chosen_and_written_down(
    alice: FlaskClient, cast: Cast, database: Database
) -> None:
    assert "A change counts for new calls only" in alice.get("/settings").text
    values = PROJECT_VALUES | {"version": "1"}
    assert alice.post("/settings", data=values | {"repeat_credit": "the boss"}).status_code == 422
    assert alice.post("/settings", data=values | {"repeat_credit": "last_non_direct"}).status_code == 302
    assert '<option value="last_non_direct" selected>' in alice.get("/settings").text
    with database.reading() as session:
        assert session.get_one(Project, cast.project.id).repeat_credit == "last_non_direct"
        assert session.scalars(select(AuditEntry)).one().detail == {"repeat_credit": ["first_call", "last_non_direct"]}


def test_bad_settings_name_the_field(alice: FlaskClient) -> None:
    answer = alice.post("/settings", data=PROJECT_VALUES | {"fallback_destination": "911?", "version": "1"})
    assert answer.status_code == 422
    assert 'id="fallback_destination-error"' in answer.text


def test_an_owner_adds_somebody_whose_password_is_shown_once(alice: FlaskClient, app: Flask, cast: Cast) -> None:
    added = alice.post("/settings/people", data={"email": "Dora@example.com", "name": "Dora", "role": "admin"})
    password = shown_once(added.text)
    assert password not in alice.get("/settings/people").text
    dora = app.test_client()
    assert dora.post("/sign-in", data={"email": "dora@example.com", "password": password}).status_code == 302
    assert "Alice&#39;s Shop" in dora.get("/settings").text
    assert dora.get("/settings/tokens").status_code == 403
    assert dora.post("/settings/people", data={"email": "x@example.com", "role": "viewer"}).status_code == 403


def test_somebody_who_is_here_already_keeps_the_password(alice: FlaskClient, app: Flask, cast: Cast) -> None:
    added = alice.post("/settings/people", data={"email": "charlie@example.com", "role": "viewer"})
    assert "<pre" not in added.text
    charlie = app.test_client()
    assert charlie.post("/sign-in", data={"email": "charlie@example.com", "password": PASSWORD}).status_code == 302
    assert charlie.post(f"/projects/{cast.project.id}/open").status_code == 302


def test_bad_invitations_add_nobody(alice: FlaskClient, database: Database) -> None:
    for values in ({"email": "nobody", "role": "viewer"}, {"email": "a@b.de", "role": "operator"}, {}):
        assert alice.post("/settings/people", data=values).status_code == 422
    with database.reading() as session:
        assert len(session.scalars(select(Person)).all()) == 4


def test_roles_change_and_the_last_owner_stays(alice: FlaskClient, cast: Cast, database: Database) -> None:
    assert alice.post(f"/settings/people/{cast.alice.id}", data={"role": "viewer"}).status_code == 409
    assert alice.post(f"/settings/people/{cast.alice.id}/remove").status_code == 409
    assert alice.post("/settings/people", data={"email": "alice@example.com", "role": "viewer"}).status_code == 409
    assert alice.post(f"/settings/people/{cast.bob.id}", data={"role": "owner"}).status_code == 302
    assert alice.post(f"/settings/people/{cast.alice.id}/remove").status_code == 302
    assert alice.get("/settings").status_code == 404
    with database.reading() as session:
        found = session.scalars(select(Membership).where(Membership.project_id == cast.project.id)).all()
        assert [(one.person_id, one.role) for one in found] == [(cast.bob.id, "owner")]


def test_a_stranger_is_not_changed_from_here(alice: FlaskClient, cast: Cast, database: Database) -> None:
    assert alice.post(f"/settings/people/{cast.charlie.id}", data={"role": "viewer"}).status_code == 404
    assert alice.post(f"/settings/people/{cast.charlie.id}/remove").status_code == 404
    with database.reading() as session:
        assert membership_of(session, cast.other_project.id, cast.charlie.id) is not None


def test_a_token_is_shown_once_works_and_is_revoked(
    alice: FlaskClient, app: Flask, cast: Cast, database: Database
) -> None:
    text = shown_once(alice.post("/settings/tokens", data={"name": "Report", "role": "viewer"}).text)
    assert text not in alice.get("/settings/tokens").text
    program, address = app.test_client(), f"/api/v1/projects/{cast.project.id}"
    assert program.get(address, headers=bearer(text)).status_code == 200
    with database.reading() as session:
        token = session.scalars(select(ApiToken).where(ApiToken.name == "Report")).one()
    assert alice.post(f"/settings/tokens/{token.id}/revoke").status_code == 302
    assert program.get(address, headers=bearer(text)).status_code == 401


def test_a_token_needs_a_name_and_a_role_of_the_project(alice: FlaskClient) -> None:
    for values in ({"name": " ", "role": "viewer"}, {"name": "x", "role": "operator"}, {}):
        assert alice.post("/settings/tokens", data=values).status_code == 422


def test_a_changed_password_ends_the_other_sessions(alice: FlaskClient, app: Flask, cast: Cast) -> None:
    elsewhere = sign_in(app.test_client(), cast.alice)
    change = {"password": PASSWORD, "new_password": "another long secret"}
    assert alice.post("/profile/password", data=change | {"password": "wrong"}).status_code == 422
    assert alice.post("/profile/password", data=change | {"new_password": "short"}).status_code == 422
    assert elsewhere.get("/profile").status_code == 200
    assert alice.post("/profile/password", data=change).status_code == 302
    assert alice.get("/profile").status_code == 200
    assert elsewhere.get("/profile").status_code == 302


def test_a_person_is_called_by_a_new_name(alice: FlaskClient) -> None:
    assert "Your name is saved." in alice.post("/profile/name", data={"name": " Alice  M "}, follow_redirects=True).text
    assert ">Alice M</a>" in alice.get("/profile").text
    assert alice.post("/profile/name", data={"name": "\0"}).status_code == 422


def test_people_see_the_tabs_of_settings_that_their_role_sees(client: FlaskClient, cast: Cast) -> None:
    alices = re.findall(r'<a href="(/settings[^"]*)"', sign_in(client, cast.alice).get("/settings/people").text)
    tabs = [
        "/settings",
        "/settings/install",
        "/settings/tag",
        "/settings/people",
        "/settings/tokens",
        "/settings/old-settings",
        "/settings/call-history",
        "/settings/audit",
    ]
    assert [path for path in alices if path in tabs][-8:] == tabs
    bobs = sign_in(client, cast.bob).get("/settings/people").text
    assert "/settings/tokens" not in bobs
    assert "Add somebody" not in bobs


def test_the_trail_is_read_page_by_page(alice: FlaskClient, cast: Cast) -> None:
    for number in range(3):
        alice.post("/settings/tokens", data={"name": f"token {number}", "role": "viewer"})
    first = alice.get("/settings/audit?limit=2").text
    assert "token 2" in first
    assert "token 0" not in first
    older = re.search(r'href="([^"]+)" rel="next"', first)
    assert older is not None
    assert "token 0" in alice.get(older.group(1).replace("&amp;", "&")).text


def test_errors_of_pages_are_pages(alice: FlaskClient) -> None:
    answer = alice.get("/nothing")
    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    assert "<h1>Not found</h1>" in answer.text
    assert alice.get("/projects/999/open").mimetype == "text/html"


def test_an_old_schema_answers_503_and_says_what_to_do(
    alice: FlaskClient, cast: Cast, database: Database, app: Flask
) -> None:
    with database.writing() as session:
        session.connection().exec_driver_sql("ALTER TABLE person RENAME TO person_of_old")
        session.connection().exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    page = alice.get("/settings")
    assert (page.status_code, page.mimetype) == (503, "text/html")
    assert "router migrate" in page.text
