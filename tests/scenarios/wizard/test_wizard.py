"""The wizard without a browser (R2): six steps, drafts that lose nothing, and a save that stores all or nothing."""

import html
import re
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from router.accounts.audit import Change
from router.db import Database
from router.scenarios.documents import scenario_document
from router.scenarios.models import Scenario, ScenarioDraft, TrackingNumber
from router.scenarios.numbers.inventory import add_numbers
from router.scenarios.wizard.drafts import open_values, unfinished
from router.scenarios.wizard.forms import FORMS, Values, field_after
from router.server import Server
from tests.factories import make_member
from tests.pages import words_of
from tests.people import NOW, Cast, sign_in
from tests.scenarios.names import ALICE, FIRST, LINE, SECOND, THIRD

pytestmark = pytest.mark.one_database

STEPS = ("numbers", "forwarding", "tagging", "channels", "integrations", "terms")
OWN = "+442079460993"
HOOK = "https://hooks.example.com/calls"

TYPED: dict[str, dict[str, Any]] = {
    "numbers": {
        "numbers": [FIRST, SECOND],
        "own": f"{OWN}\r\n",
        "aim": "source",
        "to_buy.numbers": ["+14155557731"],
        "to_buy.count": "2",
        "to_buy.country": "US",
        "to_buy.area_code": "415",
        "upkeep.on": "1",
        "upkeep.spending_limit": "25.50",
        "upkeep.max_numbers": "9",
    },
    "forwarding": {
        "destinations.0.to": LINE,
        "destinations.0.ring_seconds": "35",
        "destinations.1.to": "",
        "destinations.2.to": "sip:desk@pbx.example.com",
    },
    "tagging": {
        "tagging.selectors": ".phone\r\n\r\n#top a",
        "tagging.replace": "(415) 555-0100",
        "tagging.format": "8 (XXX) XXX-XX-XX",
    },
    "channels": {
        "channels.0.source": "google",
        "channels.0.gets": "dynamic",
        "channels.1.source": "flyer",
        "channels.1.medium": "print",
        "channels.1.gets": SECOND,
        "channels.2.gets": OWN,
    },
    "integrations": {"integrations.webhook_end.url": HOOK, "manager": "anna@example.com"},
    "terms": {"terms.only_sources": "google/cpc\nbing", "terms.excluded_landing_pages": "/jobs/*"},
}


@pytest.fixture
def server(app: Flask) -> Server:
    return app.extensions["router"]  # type: ignore[no-any-return]  # Flask does not type its extensions


@pytest.fixture
def alice(client: FlaskClient, cast: Cast, database: Database) -> FlaskClient:
    with database.writing() as session:
        add_numbers(Change(session, server, cast.project, ALICE, NOW), [FIRST, SECOND, THIRD])
    return sign_in(client, cast.alice)


def begin(client: FlaskClient) -> str:
    """The address of a new draft, without its step."""
    answer = client.get("/scenarios/new")
    assert answer.status_code == 302
    return str(answer.location).rpartition("/")[0]


def walk(client: FlaskClient, base: str, title: str = "Spring", **changed: Any) -> None:
    """Types every step and continues."""
    for step in STEPS[:-1]:
        answer = client.post(f"{base}/{step}", data={"title": title, "do": "continue"} | TYPED[step] | changed)
        assert answer.status_code == 302, answer.text
        assert answer.location == f"{base}/{STEPS[STEPS.index(step) + 1]}"


def make(client: FlaskClient, title: str = "Spring") -> int:
    """The id of a scenario that the whole wizard made."""
    base = begin(client)
    walk(client, base, title)
    client.post(f"{base}/terms", data={"title": title, "do": "save"} | TYPED["terms"])
    table = client.get("/scenarios").text
    return max(int(one) for one in re.findall(r"/scenarios/(\d+)", table))


def values_now(server: Server) -> Values:
    with server.database.reading() as session:
        return open_values(server.keys, session.scalars(select(ScenarioDraft)).one())


def document(server: Server, scenario_id: int) -> dict[str, Any]:
    with server.database.reading() as session:
        return scenario_document(session, server, session.get_one(Scenario, scenario_id))


def drafts(database: Database) -> int:
    with database.reading() as session:
        return len(session.scalars(select(ScenarioDraft)).all())


def test_r2_the_whole_scenario_is_made_in_six_steps(alice: FlaskClient, server: Server, database: Database) -> None:
    found = document(server, make(alice))
    assert (found["title"], found["enabled"], found["aim"]) == ("Spring", False, "source")
    assert found["numbers"] == [FIRST, SECOND, OWN]
    assert found["to_buy"] == {
        "numbers": ["+14155557731"], "count": 2, "country": "US", "area_code": "415", "contains": ""
    }  # fmt: skip
    assert found["upkeep"] == {"on": True, "spending_limit_minor": 2550, "max_numbers": 9}
    assert [one["to"] for one in found["flow"]["destinations"]] == [LINE, "sip:desk@pbx.example.com"]
    assert found["flow"]["destinations"][0]["ring_seconds"] == 35
    assert found["tagging"]["selectors"] == [".phone", "#top a"]
    assert found["channels"] == [
        {"match": {"source": "google"}, "kind": "dynamic"},
        {"match": {"source": "flyer", "medium": "print"}, "kind": "static", "number": SECOND},
        {"match": {}, "kind": "static", "number": OWN},
    ]
    assert found["terms"]["only_sources"] == ["google/cpc", "bing"]
    assert found["terms"]["excluded_landing_pages"] == ["/jobs/*"]
    assert found["manager"] == "anna@example.com"
    assert found["integrations"]["webhook_end"]["url"] == HOOK
    assert drafts(database) == 0


def test_r2_nothing_typed_is_lost_by_whatever_button(alice: FlaskClient) -> None:
    base = begin(alice)
    walk(alice, base)
    for do in ("back", "go.numbers", "search", "keep", "add.channels", "continue", "nonsense", "up.nothing.9"):
        alice.post(f"{base}/channels", data={"title": f"By {do}", "do": do} | TYPED["channels"])
        assert f'value="By {do}"' in alice.get(f"{base}/forwarding").text
    assert 'value="35"' in alice.get(f"{base}/forwarding").text
    assert "#top a" in alice.get(f"{base}/tagging").text
    assert 'value="flyer"' in alice.get(f"{base}/channels").text
    assert "/jobs/*" not in alice.get(f"{base}/terms").text


def test_r2_nothing_typed_is_lost_when_it_cannot_be_used(alice: FlaskClient, database: Database) -> None:
    base = begin(alice)
    wrong = {"destinations.0.to": THIRD, "destinations.0.ring_seconds": "soon", "destinations.1.to": "nowhere"}
    alice.post(f"{base}/numbers", data={"title": "Spring", "do": "continue"} | TYPED["numbers"])
    answer = alice.post(f"{base}/forwarding", data={"title": "", "do": "continue"} | wrong)
    assert answer.status_code == 422
    for kept in (f'value="{THIRD}"', 'value="soon"', 'value="nowhere"'):
        assert kept in answer.text
        assert kept in alice.get(f"{base}/forwarding").text, "also when the browser was closed"
    assert "Give it a name." in answer.text
    for element in ("title", "destinations.0.to", "destinations.0.ring_seconds", "destinations.1.to"):
        assert re.search(rf'id="{element}"[^>]*aria-describedby="{element}-error', answer.text), element
        assert f'href="#{element}"' in answer.text, "the summary leads to the field"
    with database.reading() as session:
        assert session.scalars(select(Scenario)).all() == []


def test_r2_an_own_number_that_cannot_be_used_is_refused_and_none_is_added(
    alice: FlaskClient, database: Database
) -> None:
    base = begin(alice)
    answer = alice.post(
        f"{base}/numbers", data={"title": "Spring", "own": f"{OWN}\nnonsense\n{FIRST}", "do": "continue"}
    )
    assert answer.status_code == 422
    assert "nonsense" in answer.text
    with database.reading() as session:
        assert OWN not in session.scalars(select(TrackingNumber.e164)).all()


def test_r2_a_save_leads_to_the_first_step_with_an_error(alice: FlaskClient) -> None:
    base = begin(alice)
    walk(alice, base)
    alice.post(f"{base}/tagging", data={"title": "Spring", "tagging.format": "none", "do": "back"})
    answer = alice.post(f"{base}/terms", data={"title": "Spring", "do": "save"})
    assert answer.location == f"{base}/tagging?check=1"
    assert "Write X or # where digits go" in alice.get(answer.location).text


def test_r2_a_step_that_was_not_reached_leads_to_the_last_one_that_was(alice: FlaskClient) -> None:
    base = begin(alice)
    assert alice.get(f"{base}/terms").location == f"{base}/numbers"
    page = alice.get(f"{base}/numbers").text
    assert 'value="go.numbers"' in page
    assert 'value="go.forwarding"' not in page
    assert "Save and enable" not in page
    alice.post(f"{base}/numbers", data={"title": "Spring", "do": "continue"})
    alice.post(f"{base}/forwarding", data={"title": "Spring", "do": "continue"})
    page = alice.get(f"{base}/tagging").text
    assert "Save and enable" in page, "the basic steps are done"


def test_r2_rows_are_added_moved_and_removed_without_javascript(alice: FlaskClient) -> None:
    base = begin(alice)
    alice.post(f"{base}/numbers", data={"title": "Spring", "do": "continue"})
    rows = {"destinations.0.to": "one", "destinations.1.to": "two", "title": "Spring"}
    alice.post(f"{base}/forwarding", data=rows | {"do": "add.destinations"})
    assert 'name="destinations.2.to"' in alice.get(f"{base}/forwarding").text
    alice.post(f"{base}/forwarding", data=rows | {"do": "up.destinations.1"})
    page = alice.get(f"{base}/forwarding").text
    assert page.index('value="two"') < page.index('value="one"')
    alice.post(f"{base}/forwarding", data=rows | {"do": "remove.destinations.0"})
    page = alice.get(f"{base}/forwarding").text
    assert 'value="one"' not in page
    assert 'value="two"' in page


FIRST_FIELDS = {
    "say": "text",
    "ring": "destinations.0.to",
    "menu": "prompt.text",
    "voicemail": "prompt.text",
    "press_key": "prompt.text",
    "by_source": "branches.0.match.source",
    "by_caller": "first",
    "by_area": "branches.0.prefixes",
    "ask": "url",
    "hang_up": "prompt.text",
    "hours": "branches.0.times.0.days",
}
"""By the type of a step, where one begins to fill it in."""


@pytest.mark.one_database
def test_r2_a_button_of_rows_leads_to_the_field_that_is_typed_next(alice: FlaskClient) -> None:
    base = begin(alice)
    alice.post(f"{base}/numbers", data={"title": "Spring", "do": "continue"})
    steps = {f"steps.{place}.type": kind for place, kind in enumerate(FIRST_FIELDS)}
    answer = alice.post(f"{base}/forwarding", data={"steps": "shown", "do": "add.steps.hours"} | steps)
    added = f"steps.{len(FIRST_FIELDS)}.{FIRST_FIELDS['hours']}"
    assert answer.location == f"{base}/forwarding#{added}"
    fields = [f"steps.{place}.{field}" for place, field in enumerate(FIRST_FIELDS.values())]
    page = alice.get(f"{base}/forwarding").text
    assert [field for field in (*fields, added) if f'id="{field}"' not in page] == []
    form = FORMS["forwarding"].of({"steps": [{"type": kind} for kind in FIRST_FIELDS]})
    assert [field_after(form, "add", f"steps.{kind}") for kind in FIRST_FIELDS] == fields
    assert field_after(form, "up", "steps.1") == "steps.0.text"
    assert field_after(form, "down", "steps.0") == "steps.1.destinations.0.to"
    assert field_after(form, "remove", "steps.99") == fields[-1]
    assert field_after(form, "remove", "steps.1.destinations.1") == "steps.1.destinations.0.to"
    assert field_after(form, "remove", "steps.6.first.0") == "steps.6.first"
    assert field_after(FORMS["forwarding"].of({}), "remove", "steps.0") == "flow"
    assert field_after(FORMS["channels"].of({"channels": [{}, {}]}), "add", "channels") == "channels.1.source"
    assert field_after(form, "add", "nothing") == "forwarding"


@pytest.mark.one_database
def test_r2_removed_steps_can_be_brought_back_until_the_flow_is_changed_again(alice: FlaskClient) -> None:
    base = begin(alice)
    alice.post(f"{base}/numbers", data={"title": "Spring", "do": "continue"})
    hours = {"steps": "shown", "steps.0.type": "hours", "steps.0.otherwise.0.type": "say"}
    typed = hours | {"steps.0.otherwise.0.text": "Closed.", "steps.1.type": "say", "steps.1.text": "Good day."}
    left = {"steps": "shown", "steps.0.type": "say", "steps.0.text": "Good day."}

    def press(do: str, data: dict[str, str]) -> str:
        return alice.post(f"{base}/forwarding", data={"title": "Spring", "do": do} | data, follow_redirects=True).text

    page = press("remove.steps.0", typed)
    assert "2 steps were removed." in page
    assert "Closed." not in page
    for do in ("keep", "keep", "undo.steps"):
        page = press(do, left)
    assert "Closed." in page
    assert "were removed" not in page
    press("remove.steps.0", typed)
    assert "were removed" not in press("keep", left | {"steps.0.text": "Good evening."}), "it would be lost"
    page = press("undo.steps", left | {"steps.0.text": "Good evening."})
    assert "Closed." not in page
    assert "Good evening." in page


def test_r2_a_secret_that_was_typed_is_kept_sealed_and_never_shown(
    alice: FlaskClient, server: Server, database: Database
) -> None:
    base, secret = begin(alice), "whsec_" + "c2VjcmV0" * 6
    walk(alice, base)
    typed = {"integrations.webhook_end.url": HOOK, "integrations.webhook_end.secret": secret}
    alice.post(f"{base}/integrations", data={"title": "Spring", "do": "back"} | typed)
    for step in STEPS:
        assert secret not in alice.get(f"{base}/{step}").text
    assert "Typed, kept sealed" in alice.get(f"{base}/integrations").text
    with database.reading() as session:
        assert secret not in session.scalars(select(ScenarioDraft)).one().sealed
    typed["integrations.webhook_end.secret"] = ""
    alice.post(f"{base}/integrations", data={"title": "Spring", "do": "keep"} | typed)
    stored = alice.post(f"{base}/integrations", data={"title": "Spring", "do": "save"} | typed)
    assert stored.status_code == 302, "no secret was made, the typed one was taken"


def test_a_draft_is_of_one_person_and_can_be_discarded(
    alice: FlaskClient, app: Flask, cast: Cast, database: Database, server: Server
) -> None:
    base = begin(alice)
    assert begin(alice) == base, "one that was never touched is taken again"
    alice.post(f"{base}/numbers", data={"title": "Mine", "do": "keep"})
    assert begin(alice) != base
    with database.reading() as session:
        (mine,) = unfinished(session, cast.project.id, cast.alice.id)
        assert (mine.title, mine.place) == ("Mine", 1)
        assert unfinished(session, cast.project.id, cast.bob.id) == []
    assert f"{base}/numbers" in alice.get("/scenarios").text, "it is gone on with where it was left"
    with database.writing() as session:
        make_member(session, cast.project, cast.bob, "admin")
    bob = sign_in(app.test_client(), cast.bob)
    assert bob.get(f"{base}/numbers").status_code == 404
    assert bob.post(f"{base}/numbers", data={"title": "Stolen"}).status_code == 404
    assert bob.post(f"{base}/discard").status_code == 404
    assert "The draft Mine is discarded." in alice.post(f"{base}/discard", follow_redirects=True).text
    assert alice.get(f"{base}/numbers").status_code == 404


def test_r2_an_apply_without_a_change_changes_nothing(alice: FlaskClient, server: Server) -> None:
    """Whatever a step shows comes back from it as it was."""
    scenario_id = make(alice)
    before = document(server, scenario_id)
    for step in STEPS:
        typed = shown_fields(alice.get(f"/scenarios/{scenario_id}/{step}").text)
        assert alice.post(f"/scenarios/{scenario_id}/{step}", data=typed | {"do": "apply"}).status_code == 302, step
    assert document(server, scenario_id) | {"version": 1} == before | {"version": 1}


def shown_fields(page: str) -> dict[str, Any]:
    """What a browser would send of the form as it stands."""
    found: dict[str, list[str]] = {}
    form = page[page.index("data-wizard") :]
    for attributes in re.findall(r"<input ([^>]*)>", form):
        name, value = re.search(r'name="([^"]*)"', attributes), re.search(r'value="([^"]*)"', attributes)
        if name and value and ("checked" in attributes or not re.search('type="(checkbox|radio)"', attributes)):
            found.setdefault(name.group(1), []).append(html.unescape(value.group(1)))
    for name, text in re.findall(r'<textarea [^>]*name="([^"]*)"[^>]*>([^<]*)<', form):
        found[name] = [html.unescape(text)]
    for name, options in re.findall(r'<select [^>]*name="([^"]*)"[^>]*>(.*?)</select>', form, re.DOTALL):
        chosen = re.search(r'value="([^"]*)" selected', options) or re.search(r'value="([^"]*)"', options)
        found[name] = [chosen.group(1)] if chosen else []
    return dict(found)


def test_r2_apply_stores_everything_and_stays(alice: FlaskClient, server: Server, database: Database) -> None:
    scenario_id = make(alice)
    path = f"/scenarios/{scenario_id}/tagging"
    assert alice.get(f"/scenarios/{scenario_id}").location == f"/scenarios/{scenario_id}/numbers"
    changed = TYPED["tagging"] | {"tagging.selectors": ".new", "title": "Summer", "version": "1", "do": "keep"}
    alice.post(path, data=changed)
    assert document(server, scenario_id)["title"] == "Spring", "kept, not stored"
    assert "Not applied yet" in alice.get(f"/scenarios/{scenario_id}/terms").text
    answer = alice.post(path, data=changed | {"do": "apply"}, follow_redirects=True)
    assert answer.request.path == path
    assert "Summer is stored as you see it." in answer.text
    found = document(server, scenario_id)
    assert (found["title"], found["tagging"]["selectors"], found["version"]) == ("Summer", [".new"], 2)
    assert found["terms"]["only_sources"] == ["google/cpc", "bing"], "the other steps stay"
    assert drafts(database) == 0


def test_the_second_of_two_admins_is_told_and_overwrites_only_knowingly(
    alice: FlaskClient, app: Flask, cast: Cast, server: Server, database: Database
) -> None:
    """Nothing is overwritten, and nothing that either of them typed is lost."""
    scenario_id = make(alice)
    with database.writing() as session:
        make_member(session, cast.project, cast.bob, "admin")
    bob, path = sign_in(app.test_client(), cast.bob), f"/scenarios/{scenario_id}/tagging"
    seen = {"version": "1", "title": "Spring"} | TYPED["tagging"]
    alice.post(path, data=seen | {"tagging.format": "XXX", "do": "keep"})
    bob.post(path, data=seen | {"title": "Bob's", "do": "apply"})
    late = alice.post(path, data=seen | {"tagging.format": "XXX-XXX", "do": "apply"})
    assert late.status_code == 409
    assert "bob@example.com changed this scenario" in late.text
    assert "They differ in tagging and in the name." in words_of(late)
    assert 'value="XXX-XXX"' in late.text, "the draft is kept"
    assert document(server, scenario_id)["title"] == "Bob&#39;s".replace("&#39;", "'")
    assert 'value="Bob&#39;s"' in alice.get(f"{path}?stored=1").text, "what is stored can be looked at"
    bob.post(path, data=seen | {"title": "Bob again", "version": "2", "do": "apply"})
    again = alice.post(path, data=seen | {"tagging.format": "XXX-XXX", "do": "over.2"})
    assert again.status_code == 409, "he saw version 2, and there is a third one"
    alice.post(path, data=seen | {"tagging.format": "XXX-XXX", "do": "over.3"})
    found = document(server, scenario_id)
    assert (found["title"], found["tagging"]["format"], found["version"]) == ("Spring", "XXX-XXX", 4)


def test_whoever_changed_the_scenario_last_is_named_whatever_he_did_to_it(
    alice: FlaskClient, app: Flask, cast: Cast, server: Server, database: Database
) -> None:
    """Also when it was done on another page: upkeep switched, a number moved, a number given back."""
    scenario_id = make(alice)
    with database.writing() as session:
        make_member(session, cast.project, cast.bob, "admin")
        numbers = {one.e164: one for one in session.scalars(select(TrackingNumber))}
        first, third = numbers[FIRST], numbers[THIRD]
        first.owned_elsewhere = False
    bob, path = sign_in(app.test_client(), cast.bob), f"/scenarios/{scenario_id}/tagging"
    for address, form in (
        (f"/scenarios/{scenario_id}/upkeep-switch", {}),
        ("/numbers/move", {"number": third.id, "scenario": scenario_id}),
        ("/numbers/release", {"number": first.id}),
    ):
        alice.post(path, data={"title": "Hers", "do": "keep"} | TYPED["tagging"])
        before = document(server, scenario_id)["version"]
        assert bob.post(address, data=form).status_code == 302, address
        assert document(server, scenario_id)["version"] == before + 1, address
        late = alice.post(path, data={"title": "Hers", "do": "apply"} | TYPED["tagging"])
        assert late.status_code == 409, address
        assert "bob@example.com changed this scenario" in late.text, address
        alice.post(f"/scenarios/{scenario_id}/discard")


def test_numbers_that_come_in_while_somebody_edits_stay(
    alice: FlaskClient, cast: Cast, server: Server, database: Database
) -> None:
    scenario_id = make(alice)
    alice.post(f"/scenarios/{scenario_id}/numbers", data={"title": "Spring", "do": "keep", "numbers": [FIRST]})
    alice.post(f"/scenarios/{scenario_id}/channels", data={"title": "Spring", "do": "keep"})
    with database.writing() as session:
        session.scalars(select(TrackingNumber).where(TrackingNumber.e164 == THIRD)).one().scenario_id = scenario_id
    alice.post(f"/scenarios/{scenario_id}/terms", data={"title": "Spring", "do": "apply"})
    assert set(document(server, scenario_id)["numbers"]) == {FIRST, THIRD}


def test_an_enabled_scenario_stays_enabled_when_it_is_changed(
    alice: FlaskClient, server: Server, database: Database
) -> None:
    scenario_id = make(alice)
    with database.writing() as session:
        session.get_one(Scenario, scenario_id).enabled = True
    alice.post(f"/scenarios/{scenario_id}/terms", data={"title": "Spring", "do": "apply"})
    assert document(server, scenario_id)["enabled"]


def test_a_viewer_sees_every_step_and_changes_nothing(
    alice: FlaskClient, app: Flask, cast: Cast, server: Server
) -> None:
    scenario_id = make(alice)
    bob = sign_in(app.test_client(), cast.bob)
    for step in STEPS:
        page = bob.get(f"/scenarios/{scenario_id}/{step}").text
        assert 'value="Spring"' in page
        assert 'name="do"' not in page
        assert bob.post(f"/scenarios/{scenario_id}/{step}", data={"title": "x"}).status_code == 403
    assert bob.get("/scenarios/new").status_code == 403
    assert document(server, scenario_id)["version"] == 1


def test_a_viewer_who_opens_a_scenario_begins_no_draft(alice: FlaskClient, database: Database) -> None:
    scenario_id = make(alice)
    for step in STEPS:
        assert alice.get(f"/scenarios/{scenario_id}/{step}").status_code == 200
    assert drafts(database) == 0


@pytest.mark.parametrize("text", ["1_000", "1e3", "٣٠", "1,000.00"])
def test_a_spending_limit_is_read_as_every_other_amount(alice: FlaskClient, text: str) -> None:
    base = begin(alice)
    answer = alice.post(f"{base}/numbers", data={"upkeep.on": "y", "upkeep.spending_limit": text, "do": "continue"})
    assert answer.status_code == 422
    assert f'value="{text}"' in answer.text
    assert "Write an amount of EUR, like 25.00." in answer.text


def test_junk_is_no_mistake_of_ours(alice: FlaskClient) -> None:
    base = begin(alice)
    junk = {"title": "\0a\ud7ff", "do": "\0", "version": "x", "to_buy.count": "٣", "upkeep.spending_limit": "1e999"}
    for step in STEPS:
        alice.post(f"{base}/{step}", data=junk | {"numbers": ["", "\0", "x" * 300], "channels.0.gets": "\0"})
        alice.post(f"{base}/{step}", data=junk | {"do": "remove.destinations.99999"})
        assert alice.get(f"{base}/{step}?row=%25").status_code in (200, 302)
    answer = alice.post(f"{base}/numbers", data=junk | {"do": "continue"})
    assert answer.status_code == 422
    assert "Write an amount of EUR" in answer.text
    for address in ("/scenarios/new/0/numbers", "/scenarios/new/99999999999999999999/numbers", f"{base}/nothing"):
        assert alice.get(address).status_code == 404


def test_a_draft_is_kept_at_its_time(alice: FlaskClient, server: Server, cast: Cast, database: Database) -> None:
    server.now = lambda: NOW
    base = begin(alice)
    server.now = lambda: NOW + timedelta(hours=2, minutes=32)
    answer = alice.post(f"{base}/numbers", data={"title": "Spring", "do": "keep"})
    assert "Draft kept" in answer.text
    assert ">today 15:32<" in answer.text
    assert values_now(server)["title"] == "Spring"


PREMIUM = "+1 900 234 5678"
BOX = re.compile(r'<input class="form-check-input[^>]*id="destinations.0.costs_confirmed"[^>]*>')


def test_r2_a_destination_that_costs_more_is_confirmed_by_a_box_for_this_number_alone(
    alice: FlaskClient, server: Server
) -> None:
    base = begin(alice)
    alice.post(f"{base}/numbers", data={"title": "Spring", "do": "continue"} | TYPED["numbers"])
    typed = {"title": "Spring", "do": "continue", "destinations.0.to": PREMIUM}
    refused = alice.post(f"{base}/forwarding", data=typed)
    assert refused.status_code == 422
    [box] = BOX.findall(refused.text)
    assert f'value="{PREMIUM}"' in box
    assert 'aria-invalid="true"' in box
    assert "checked" not in box.replace("form-check", "")
    assert "is a premium-rate number: " in refused.text
    assert "Tick the box" in refused.text
    assert "costs_confirmed”" not in refused.text, "people are not told what programs send"
    other = alice.post(f"{base}/forwarding", data=typed | {"destinations.0.costs_confirmed": "+1 900 234 5679"})
    assert other.status_code == 422, "another number was confirmed"
    ticked = alice.post(f"{base}/forwarding", data=typed | {"destinations.0.costs_confirmed": PREMIUM})
    assert ticked.location == f"{base}/tagging"
    assert " checked" in BOX.findall(alice.get(f"{base}/forwarding").text)[0]
    alice.post(f"{base}/tagging", data={"title": "Spring", "do": "save"} | TYPED["tagging"])
    made = max(int(one) for one in re.findall(r"/scenarios/(\d+)", alice.get("/scenarios").text))
    assert document(server, made)["flow"]["destinations"][0]["costs_confirmed"] is True
    assert " checked" in BOX.findall(alice.get(f"/scenarios/{made}/forwarding").text)[0]


def test_r2_an_ordinary_destination_has_no_box_and_a_long_ring_a_warning(alice: FlaskClient) -> None:
    base = begin(alice)
    alice.post(f"{base}/numbers", data={"title": "Spring", "do": "continue"} | TYPED["numbers"])
    typed = {"title": "Spring", "do": "keep", "destinations.0.to": LINE, "destinations.0.ring_seconds": "20"}
    assert "own voicemail" not in alice.post(f"{base}/forwarding", data=typed).text
    shown = alice.post(f"{base}/forwarding", data=typed | {"destinations.0.ring_seconds": "21"}).text
    assert "Above 20 s the line&#39;s own voicemail may answer before anybody does." in shown
    assert BOX.findall(shown) == []
