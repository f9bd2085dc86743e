"""Steps of a call flow in the wizard: what was stored comes back as it was, what is typed is kept, and errors stand at their fields."""

import json
from itertools import pairwise
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from werkzeug.datastructures import MultiDict
from wtforms import Form, FormField

from router.scenarios.flow_document import FlowSchema
from router.scenarios.flow_picture import WIDTH, draw, wrapped
from router.scenarios.flow_words import KINDS, told
from router.scenarios.flows import lines_in
from router.scenarios.wizard.flow_forms import STEP_FORMS, steps_around
from router.scenarios.wizard.forms import (
    ForwardingStep,
    ScenarioForms,
    clean_form,
    document_of_values,
    read_step,
    values_of_document,
)
from router.web.forms import Rows
from tests.pages import words_of
from tests.people import Cast, sign_in
from tests.properties import examples
from tests.scenarios.flows.random_flows import flows
from tests.scenarios.flows.test_stored_flows import STORED
from tests.scenarios.test_api import Program
from tests.scenarios.wizard.test_wizard import begin, shown_fields

LINE, OTHER = "+14155550111", "+14155550112"


def sent(form: Form, into: MultiDict[str, str] | None = None) -> MultiDict[str, str]:
    """What a browser sends of a form as it stands."""
    into = MultiDict() if into is None else into
    for name, field in form._fields.items():
        if isinstance(field, FormField):
            sent(field.form, into)
        elif isinstance(field, Rows):
            for row in field.entries:
                sent(row.form, into)
        elif isinstance(field.data, list):
            for value in field.data:
                into.add(field.name, value)
        elif field.data is not False:
            into.add(field.name, "1" if field.data is True else field.data.replace("\n", "\r\n"))
        assert name in field.name
    return into


def typed(**members: Any) -> ForwardingStep:
    return ForwardingStep(data=members)


def pressed(form: ForwardingStep, do: str) -> ForwardingStep:
    """The step as it is shown after a button was pressed."""
    typed = sent(form)
    typed["do"], typed["steps"] = do, "shown"
    return ForwardingStep.of(read_step("forwarding", clean_form(typed), (), {}))


def flow_of(form: ForwardingStep) -> dict[str, Any]:
    document: dict[str, Any] = form.document()["flow"]
    return document


@given(flows())
@settings(max_examples=examples(120), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_a_flow_comes_back_from_its_fields_as_it_was_and_is_drawn_within_its_picture(document: dict[str, Any]) -> None:
    stored = FlowSchema.model_validate(document).document()
    values = values_of_document({"flow": stored}, (), "EUR")
    shown = sent(ForwardingStep.of(values["forwarding"])) | {"steps": "shown"}
    again = read_step("forwarding", clean_form(MultiDict(shown)), (), {})
    found, errors = document_of_values(values | {"forwarding": again}, (), "EUR")
    assert errors == {}
    assert FlowSchema.model_validate(found["flow"]).document() == stored
    said, sent_as = json.dumps(found["flow"]), json.dumps(document)
    assert len(said) <= len(sent_as) + said.count('"id": "') * len('"id": "s999", ') + 40, "else a large one is refused"
    picture = draw(told(found["flow"].get("steps") or ()))
    assert all(box.x >= 0 and box.x + box.width <= WIDTH for box in picture.boxes)
    assert all(0 < word.y <= picture.height for word in picture.words)
    below = sorted(picture.boxes, key=lambda box: box.y)
    assert all(upper.y + upper.height <= lower.y for upper, lower in pairwise(below)), "none overlap"


def test_lines_of_a_picture_break_anywhere_when_they_must() -> None:
    assert wrapped("a b", 1000) == ["a b"]
    assert "".join(wrapped("x" * 300, 100)) == "x" * 300
    assert wrapped("", 100) == [""]


def test_the_first_step_takes_the_lines_that_were_typed_along() -> None:
    lines = [{"to": LINE, "ring_seconds": "15"}, {}, {"to": OTHER}]
    for kind in STEP_FORMS:
        form = pressed(typed(destinations=lines), f"add.steps.{kind}")
        flow = flow_of(form)
        assert [line["to"] for _, line, _ in lines_in(flow)][:2] == [LINE, OTHER], kind
        assert [step["type"] for step in flow["steps"]].count(kind) >= 1
    assert [step["type"] for step in steps_around([{"to": LINE}], "voicemail")] == ["ring", "voicemail"]
    assert [step["type"] for step in steps_around([{"to": LINE}], "say")] == ["say", "ring"]


def test_without_its_other_steps_a_flow_is_the_simple_case_again() -> None:
    form = pressed(typed(destinations=[{"to": LINE, "ring_seconds": "15"}]), "add.steps.voicemail")
    back = pressed(form, "remove.steps.1")
    assert flow_of(back) == {"destinations": [{"to": LINE, "ring_seconds": 15}]}
    ringing = typed(steps=[{"type": "ring", "destinations": [{"to": LINE, "extension": "12"}]}, {"type": "voicemail"}])
    assert "steps" in flow_of(pressed(ringing, "remove.steps.1")), "what a simple line has not would be lost"


def test_steps_are_added_moved_and_removed_in_every_list() -> None:
    form = pressed(typed(), "add.steps.menu")
    form = pressed(form, "add.steps.0.keys.1.steps.voicemail")
    form = pressed(form, "add.steps.0.keys.1.steps.hang_up")
    form = pressed(form, "add.steps.0.no_input.say")
    form = pressed(form, "up.steps.0.keys.1.steps.1")
    menu = flow_of(form)["steps"][0]
    assert [step["type"] for step in menu["keys"]["2"]] == ["hang_up", "voicemail"]
    assert [step["type"] for step in menu["no_input"]] == ["say"]
    form = pressed(form, "down.steps.0.keys.1.steps.0")
    form = pressed(form, "remove.steps.0.keys.1.steps.1")
    form = pressed(form, "remove.steps.0.keys.0")
    assert {key: [step["type"] for step in steps] for key, steps in flow_of(form)["steps"][0]["keys"].items()} == {
        "2": ["voicemail"]
    }
    for junk in (
        "add.steps.nothing",
        "up.steps.0",
        "remove.steps.9",
        "add.steps.0.keys.x.steps.say",
        "down.steps.9.keys",
    ):
        assert flow_of(pressed(form, junk)) == flow_of(form), junk


def test_fields_that_stand_deeper_than_a_flow_can_be_are_not_read() -> None:
    name = "steps.0" + ".otherwise.0" * 300
    read = ForwardingStep(MultiDict({f"{name}.type": "by_caller"}))
    assert len(str(read.document())) < 10_000


@pytest.mark.parametrize(
    ("path", "element"),
    [
        ("flow.steps.0.prompt", "steps.0.prompt.text"),
        ("flow.steps.0.keys.1.0.destinations.0.to", "steps.0.keys.0.steps.0.destinations.0.to"),
        (
            "flow.steps.0.keys.1.0.destinations.1.headers.X-Visit",
            "steps.0.keys.0.steps.0.destinations.2.headers.0.name",
        ),
        ("flow.steps.0.keys.1.0.detect_machines", "steps.0.keys.0.steps.0.answer"),
        ("flow.steps.0.keys.1.0.recording.announcement", "steps.0.keys.0.steps.0.recording.announcement.text"),
        ("flow.steps.0.keys.", "steps.0.keys.2.name"),
        ("flow.steps.0.keys.1\0", "steps.0.keys.1.name"),
        ("flow.steps.1.branches.0.times.0.days", "steps.1.branches.0.times.0.days"),
        ("flow.steps.1.branches.0.steps.0.text", "steps.1.branches.0.steps.0.text"),
        ("flow.steps.1.holidays.0.mail_to.0", "steps.1.holidays.0.mail_to"),
        ("flow.language", "language"),
    ],
)
def test_every_field_of_a_flow_has_its_element(path: str, element: str) -> None:
    lines = [{"to": LINE}, {}, {"to": "sip:a@b.example", "headers": [{"name": "X-Visit", "value": "{x}"}]}]
    menu = {
        "type": "menu",
        "keys": [
            {"name": "1", "steps": [{"type": "ring", "destinations": lines}]},
            {"name": "1", "steps": [{"type": "say"}]},
            {"name": "", "steps": [{"type": "say"}]},
        ],
    }
    hours = {
        "type": "hours",
        "branches": [{"times": [{"opens": "9"}], "steps": [{"type": "say"}]}],
        "holidays": [{"type": "voicemail"}],
    }
    assert ScenarioForms({"forwarding": {"steps": [menu, hours]}}).element_of(path) == element


def test_a_second_line_for_the_same_key_is_refused_at_its_field() -> None:
    keys = [{"name": "1", "steps": [{"type": "say", "text": text}]} for text in ("One.", "Two.")]
    steps = [{"type": "menu", "prompt": {"text": "Press 1."}, "keys": keys}]
    empty = values_of_document({}, (), "EUR")
    _, errors = document_of_values(empty | {"forwarding": typed(steps=steps).typed()}, (), "EUR")
    assert errors == {"flow.steps.0.keys.1\0": "Another line says this already."}


def test_every_kind_of_step_can_be_told() -> None:
    assert KINDS.keys() == STEP_FORMS.keys()
    for kind in KINDS:
        (step,) = told([{"type": kind}])
        assert step.title


@pytest.mark.one_database
def test_r2_a_flow_of_the_api_opens_in_the_wizard_and_comes_back_unchanged(client: FlaskClient, cast: Cast) -> None:
    program = Program(client, cast.alice_token, cast.project)
    made = program.made("/scenarios", {"title": "Spring", "flow": {"steps": STORED, "language": "de-DE"}})
    path = f"/scenarios/{made['id']}/forwarding"
    sign_in(client, cast.alice)
    page = client.get(path)
    for words in ("Press 1 to be connected.", "Mon–Fri 09:00–17:30", "google / * / brand*", "The call ends"):
        assert words in words_of(page)
    assert client.post(path, data=shown_fields(page.text) | {"do": "apply"}).status_code == 302
    assert (program.send("GET", f"/scenarios/{made['id']}").json or {})["flow"] == made["flow"]


@pytest.mark.one_database
def test_r2_errors_of_steps_stand_at_their_fields_and_nothing_typed_is_lost(client: FlaskClient, cast: Cast) -> None:
    alice = sign_in(client, cast.alice)
    base = begin(alice)
    alice.post(f"{base}/numbers", data={"title": "Spring", "do": "continue"})
    wrong = {
        "steps": "shown",
        "steps.0.type": "menu",
        "steps.0.prompt.text": "",
        "steps.0.keys.0.name": "12",
        "steps.0.keys.0.steps.0.type": "ring",
        "steps.0.keys.0.steps.0.destinations.0.to": "nowhere",
        "steps.0.keys.0.steps.0.destinations.0.ring_seconds": "soon",
        "steps.1.type": "hours",
        "steps.1.branches.0.times.0.opens": "9",
    }
    answer = alice.post(f"{base}/forwarding", data={"title": "Spring", "do": "continue"} | wrong)
    assert answer.status_code == 422
    for element in (
        "steps.0.prompt.text",
        "steps.0.keys.0.name",
        "steps.0.keys.0.steps.0.destinations.0.to",
        "steps.0.keys.0.steps.0.destinations.0.ring_seconds",
        "steps.1.branches.0.times.0.opens",
        "steps.1.branches.0.times.0.days",
    ):
        assert f'id="{element}-error"' in answer.text, element
        assert f'href="#{element}"' in answer.text, element
    kept = shown_fields(alice.get(f"{base}/forwarding").text)
    assert {name: kept.get(name) for name in wrong if wrong[name]} == {
        name: [wrong[name]] for name in wrong if wrong[name]
    }


@pytest.mark.one_database
def test_r2_the_largest_flow_can_be_typed(client: FlaskClient, cast: Cast) -> None:
    alice = sign_in(client, cast.alice)
    base = begin(alice)
    alice.post(f"{base}/numbers", data={"title": "Spring", "do": "continue"})
    say = {
        f"steps.{index}.{name}": value for index in range(30) for name, value in (("type", "say"), ("text", "ä" * 999))
    }
    answer = alice.post(f"{base}/forwarding", data={"title": "Spring", "do": "continue", "steps": "shown"} | say)
    assert answer.status_code == 302
