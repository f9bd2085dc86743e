"""A flow is read as it is written, or each field that cannot be used is named by its place."""

import json
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.scenarios.fields import Context
from router.scenarios.flow_document import LARGEST_DOCUMENT, MOST_STEPS, FlowSchema, parse_flow
from router.scenarios.flow_steps import DEEPEST, AnyStep, RingStep
from router.scenarios.flows import lines_in
from router.scenarios.schema import parse_scenario
from tests.properties import examples
from tests.scenarios.flows.random_flows import flows

GERMAN = Context("DE", knows_regions=False)
SAY = {"type": "say", "text": "Hello"}


def errors_of(*steps: Any, context: Context = GERMAN) -> dict[str, str]:
    return parse_flow({"steps": list(steps)}, context)[1]


def ring(**members: Any) -> dict[str, Any]:
    return {"type": "ring", "destinations": [{"to": "+4930123456"}]} | members


def line(**members: Any) -> dict[str, Any]:
    return ring(destinations=[{"to": "sip:a@pbx.example.com"} | members])


def menu(**members: Any) -> dict[str, Any]:
    return {"type": "menu", "prompt": {"text": "Press 1"}, "keys": {"1": [SAY]}} | members


def hours(**times: Any) -> dict[str, Any]:
    time = {"days": ["mon"], "opens": "09:00", "closes": "17:00"} | times
    return {"type": "hours", "branches": [{"times": [time], "steps": []}]}


@pytest.mark.parametrize(
    "destinations",
    [
        [{"to": "030 123456"}],
        [{"to": "sip:a@pbx.example.com", "ring_seconds": 40}, {"to": "+14155550100"}],
        [],
        [{"to": "+4930123456"}] * 11,
        [{"to": "x"}],
        [{"to": "+4930123456", "ring_seconds": 4}],
        [{"to": "+4930123456", "weight": 2}],
    ],
)
def test_the_short_form_is_read_as_the_scenario_reads_it(destinations: list[dict[str, Any]]) -> None:
    document = {"destinations": destinations}
    scenario, refused = parse_scenario({"title": "Spring", "flow": document}, GERMAN)
    flow, errors = parse_flow(document, GERMAN)
    assert errors == refused
    if not errors:
        assert flow is not None
        assert scenario.flow is not None
        assert flow.document() == scenario.flow.document()


@pytest.mark.parametrize("step", get_args(get_args(AnyStep)[0]))
def test_every_step_has_an_example_that_can_be_stored(step: Any) -> None:
    example = step.model_config["json_schema_extra"]["example"]
    flow, errors = parse_flow({"steps": [example]}, GERMAN)
    assert errors == {}
    assert flow is not None
    assert isinstance((flow.steps or [])[0], step)
    assert step.__name__ in json.dumps(FlowSchema.model_json_schema())


@pytest.mark.parametrize(
    ("step", "place", "word"),
    [
        ({"type": "shout"}, "", "“shout”"),
        ({}, "", "type"),
        (SAY | {"text": ""}, ".text", "needed"),
        (SAY | {"text": "x" * 1001}, ".text", "1000"),
        (SAY | {"text": "Hello\x00"}, ".text", "control"),
        (SAY | {"text": "\ud800"}, ".text", "half"),
        (line(headers={"X-A": "a\r\nVia: b"}), ".destinations.0.headers.X-A", "one line"),
        (SAY | {"language": "German"}, ".language", "de-DE"),
        (SAY | {"voice": "Siri"}, ".voice", "Polly.Vicki"),
        (SAY | {"id": "Über"}, ".id", "letters"),
        (SAY | {"id": "x" * 17}, ".id", "16"),
        (SAY | {"colour": "red"}, ".colour", "no such field"),
        ({"type": "play", "sound": "../x"}, ".sound", "name"),
        (ring(destinations=[]), ".destinations", "1"),
        (ring(destinations=[{"to": "+4930123456"}] * 11), ".destinations", "10"),
        (ring(destinations=[{"to": "+49"}]), ".destinations.0.to", "+49"),
        (ring(order="random"), ".order", "in_turn"),
        (ring(accept=True, detect_machines=True), ".detect_machines", "Either"),
        (ring(whisper={"text": "From {country}"}), ".whisper.text", "{country}"),
        (ring(recording={}), ".recording.announcement", "recorded"),
        (ring(recording={"announcement": {}}), ".recording.announcement", "text"),
        (ring(destinations=[{"to": "+4930123456", "headers": {"X-A": "1"}}]), ".destinations.0.headers", "SIP"),
        (ring(destinations=[{"to": "+4930123456", "transport": "tls"}]), ".destinations.0.transport", "SIP"),
        (ring(destinations=[{"to": "+4930123456", "extension": "1x"}]), ".destinations.0.extension", "ww12"),
        (ring(destinations=[{"to": "+4930123456", "weight": 0}]), ".destinations.0.weight", "at least 1"),
        (
            ring(destinations=[{"to": "+4930123456", "extension": "1"}], detect_machines=True),
            ".detect_machines",
            "extension",
        ),
        (line(headers={"Via": "x"}), ".destinations.0.headers", "“Via”"),
        (line(headers={"X-A": "{ip}"}), ".destinations.0.headers.X-A", "{ip}"),
        (line(headers={"X-A": "1" * 500, "X-B": "1" * 500}), ".destinations.0.headers", "1000"),
        (line(extension="12"), ".destinations.0.extension", "part of the address"),
        (line(transport="http"), ".destinations.0.transport", "tls"),
        (line(to="sip:a@b.example;transport=tls", transport="tcp"), ".destinations.0.transport", "already"),
        (line(region="ireland"), ".destinations.0.region", "ie1"),
        (menu(keys={}), ".keys", "1"),
        (menu(keys={"12": []}), ".keys.12", "one key"),
        (menu(keys={"A": []}), ".keys.A", "one key"),
        (menu(keys={"1": [{"type": "say"}]}), ".keys.1.0.text", "needed"),
        (menu(prompt={"text": "a", "sound": "b"}), ".prompt", "text, or"),
        (menu(tries=6), ".tries", "5"),
        (menu(no_input=[{"type": "x"}]), ".no_input.0", "“x”"),
        ({"type": "press_key", "prompt": {"text": "1"}, "key": ""}, ".key", "needed"),
        ({"type": "voicemail", "mail_to": ["bob"]}, ".mail_to.0", "“bob”"),
        (hours(days=[]), ".branches.0.times.0.days", "1"),
        (hours(days=["monday"]), ".branches.0.times.0.days.0", "mon"),
        (hours(opens="9:00"), ".branches.0.times.0.opens", "09:00"),
        (hours(opens="25:00"), ".branches.0.times.0.opens", "09:00"),
        (hours(closes="24:01"), ".branches.0.times.0.closes", "24:00"),
        (hours(closes="09:00"), ".branches.0.times.0", "whole day"),
        (hours(opens="24:00"), ".branches.0.times.0", "whole day"),
        ({"type": "by_source", "branches": []}, ".branches", "1"),
        (
            {"type": "by_source", "branches": [{"match": {"source": "a\nb"}, "steps": []}]},
            ".branches.0.match.source",
            "line",
        ),
        ({"type": "by_area", "branches": [{"prefixes": ["030"], "steps": []}]}, ".branches.0.prefixes.0", "+49"),
        ({"type": "ask", "url": "ftp://x"}, ".url", "https://"),
        ({"type": "ask", "url": "https://x.example", "answers": {"a b": []}}, ".answers.a b", "letters"),
        ({"type": "hang_up", "prompt": {"sound": ""}}, ".prompt.sound", "needed"),
    ],
)
def test_a_field_that_cannot_be_used_is_named_by_its_place(step: Any, place: str, word: str) -> None:
    errors = errors_of(SAY, menu(keys={"2": [step]}))
    assert list(errors) == [f"flow.steps.1.keys.2.0{place}"]
    assert word in errors[f"flow.steps.1.keys.2.0{place}"]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"destinations": [{"to": "+4930123456"}], "steps": [SAY]},
        [],
        None,
        "x",
        {"steps": []},
        {"steps": [SAY] * 31},
    ],
)
def test_a_flow_is_either_destinations_or_steps(document: Any) -> None:
    flow, errors = parse_flow(document, GERMAN)
    assert flow is None
    assert list(errors) in (["flow"], ["flow.steps"])


def nested(depth: int) -> dict[str, Any]:
    """A step with lists within each other, so many in all with the one that it stands in."""
    return SAY if depth == 1 else {"type": "by_caller", "first": [nested(depth - 1)]}


def test_steps_are_nested_ten_deep_and_no_deeper() -> None:
    assert errors_of(nested(DEEPEST)) == {}
    assert list(errors_of(nested(DEEPEST + 1))) == ["flow.steps.0" + ".first.0" * (DEEPEST - 1) + ".first"]
    assert list(errors_of(nested(300))) == ["flow"]


def test_a_document_has_64_kb_and_a_limited_count_of_steps() -> None:
    sentences = [menu(keys={"1": [SAY | {"text": "x" * 900}] * 30}) for _ in range(3)]
    assert "64 kB" in errors_of(*sentences)["flow"]
    many = [menu(keys={"1": [SAY] * 29}) for _ in range(7)]
    assert len(json.dumps(many)) < LARGEST_DOCUMENT
    assert f"{MOST_STEPS} steps" in errors_of(*many)["flow"]


def test_a_version_is_read_although_what_was_left_out_makes_it_larger_than_the_limit() -> None:
    whole = ring(destinations=[{"to": "+4930123456"}] * 10)
    flow, errors = parse_flow({"steps": [menu(keys={"1": [whole] * 27, "2": [whole] * 27})] * 2}, GERMAN)
    assert errors == {}
    assert flow is not None
    stored = flow.document()
    assert len(json.dumps(stored)) > LARGEST_DOCUMENT
    assert FlowSchema.model_validate(stored) == flow


def test_a_letter_counts_as_many_bytes_as_it_has() -> None:
    assert errors_of(menu(keys={"1": [SAY | {"text": "ж" * 1000}] * 29})) == {}
    assert "64 kB" in errors_of(menu(keys={"1": [SAY | {"text": "😀" * 1000}] * 29}))["flow"]


def test_ids_are_unique_kept_and_given_where_none_is() -> None:
    flow, _ = parse_flow({"steps": [SAY, menu(id="s1", no_input=[SAY, SAY | {"id": "bye"}])]}, GERMAN)
    assert flow is not None
    assert [(place, step.id) for place, step in flow.walk()] == [
        ("steps.0", "s2"),
        ("steps.1", "s1"),
        ("steps.1.keys.1.0", "s3"),
        ("steps.1.no_input.0", "s4"),
        ("steps.1.no_input.1", "bye"),
    ]
    again, _ = parse_flow(flow.document(), GERMAN)
    assert again == flow
    assert "“s1”" in errors_of(menu(id="s1", no_input=[SAY | {"id": "s1"}]))["flow.steps.0.no_input.0.id"]


def test_a_recording_needs_an_announcement_unless_the_operator_says_otherwise() -> None:
    silent = ring(recording={"channels": "mixed"})
    assert list(errors_of(silent)) == ["flow.steps.0.recording.announcement"]
    assert errors_of(silent, context=Context("DE", knows_regions=False, may_record_silently=True)) == {}
    assert errors_of(ring(recording={"announcement": {"text": "This call is recorded."}})) == {}


def test_a_sound_has_to_be_one_of_the_project() -> None:
    context = Context("DE", knows_regions=False, sounds={"welcome"})
    assert errors_of({"type": "play", "sound": "welcome"}, context=context) == {}
    assert "“goodbye”" in errors_of({"type": "play", "sound": "goodbye"}, context=context)["flow.steps.0.sound"]
    assert list(errors_of(menu(prompt={"sound": "x"}), context=context)) == ["flow.steps.0.prompt.sound"]


def test_numbers_are_read_in_the_projects_country_wherever_they_stand() -> None:
    flow, _ = parse_flow({"steps": [menu(no_input=[ring(destinations=[{"to": "030 123456"}])])]}, GERMAN)
    assert flow is not None
    lines = [(place, line["to"]) for place, line, _ in lines_in(flow.document())]
    assert lines == [("steps.0.no_input.0.destinations.0", "+4930123456")]
    inner = next(step for _, step in flow.walk() if isinstance(step, RingStep))
    assert inner.destinations[0].ring_seconds == 20


@given(flows())
@settings(max_examples=examples(200))
def test_a_flow_that_was_read_is_stored_and_reads_as_itself(document: dict[str, Any]) -> None:
    flow, errors = parse_flow(document, GERMAN)
    assert errors == {}
    assert flow is not None
    stored = json.loads(json.dumps(flow.document()))
    assert FlowSchema.model_validate(stored) == flow
    ids = [step.id for _, step in flow.walk()]
    assert all(ids)
    assert len(set(ids)) == len(ids)


leaves = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.sampled_from(["say", "menu", "ring", "+49"])
)
NAMES = st.sampled_from(
    [
        "type",
        "text",
        "steps",
        "keys",
        "1",
        "branches",
        "times",
        "destinations",
        "to",
        "prompt",
        "id",
        "first",
        "answers",
    ]
)
junk = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4))


def broken(document: Any, choose: Any) -> Any:
    """The document with one of its values replaced by junk."""
    if isinstance(document, dict | list) and document and choose(st.booleans() | st.just(True)):
        places = list(document) if isinstance(document, dict) else range(len(document))
        place = choose(st.sampled_from(places))
        copy: Any = document.copy()
        copy[place] = broken(document[place], choose)
        return copy
    return choose(junk)


@given(st.data())
@settings(max_examples=examples(160))
def test_junk_in_a_flow_is_refused_with_places_or_read(data: Any) -> None:
    document = broken(data.draw(flows()), data.draw)
    flow, errors = parse_flow(document, GERMAN)
    assert (flow is None) == bool(errors)
    assert all(place.split(".")[0] == "flow" and sentence for place, sentence in errors.items())
