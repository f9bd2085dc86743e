"""R1: channels in a scenario's document, and `static`, their short form; both directions."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.accounts.audit import Change
from router.accounts.models import Project
from router.scenarios.channels import channel_for, never_reached, short_form, static_sources, with_static
from router.scenarios.documents import scenario_document
from router.scenarios.matching import SourceParts
from router.scenarios.models import Scenario
from router.scenarios.service import change_scenario, create_scenario
from router.server import Server
from router.web.errors import Refused
from tests.factories import NOON
from tests.scenarios.names import ALICE, FIRST, SECOND, THIRD, number

FLYER = {"source": "flyer", "medium": "print", "campaign": ""}
ADS = {"match": {"source": "google", "medium": "cpc"}, "kind": "dynamic"}
REST = {"match": {}, "kind": "dynamic"}


def static(e164: str, **match: str) -> dict[str, Any]:
    return {"match": match, "kind": "static", "number": e164}


def create(server: Server, project: Project, **document: Any) -> dict[str, Any]:
    with server.database.writing() as session:
        given = {"title": "Spring", "numbers": [FIRST, SECOND]} | document
        scenario, _ = create_scenario(Change(session, server, project, ALICE, NOON), given)
        return scenario_document(session, server, scenario)


def change(server: Server, project: Project, before: dict[str, Any], **values: Any) -> dict[str, Any]:
    with server.database.writing() as session:
        scenario, _ = change_scenario(
            Change(session, server, project, ALICE, NOON),
            before["id"],
            lambda present: present | values,
            before["version"],
        )
        return scenario_document(session, server, scenario)


def claimed(server: Server, e164: str) -> Any:
    with server.database.reading() as session:
        return number(session, e164).static_source


def test_r1_channels_are_the_truth_and_static_is_their_short_form(server: Server, project: Project) -> None:
    channels = [ADS, static(FIRST, source="news*"), static(SECOND), REST]
    made = create(server, project, channels=channels)
    assert made["channels"] == channels
    assert made["static"] == {FIRST: {"source": "news*", "medium": "", "campaign": ""}}
    assert claimed(server, FIRST) == {"source": "news*", "medium": "", "campaign": ""}
    billboard = {"source": "offline", "medium": "offline", "campaign": ""}
    assert claimed(server, SECOND) == billboard, "a static number without a match is shown to nobody"


def test_r1_static_is_written_into_the_channels_before_the_row_that_would_take_its_visitors(
    server: Server, project: Project
) -> None:
    made = create(server, project, channels=[ADS, REST])
    changed = change(server, project, made, static={SECOND: FLYER})
    flyer = static(SECOND, source="flyer", medium="print")
    assert changed["channels"] == [ADS, flyer, REST]
    renewed = change(server, project, changed, static={SECOND: FLYER | {"campaign": "may"}})
    assert renewed["channels"] == [ADS, static(SECOND, source="flyer", medium="print", campaign="may"), REST]
    assert claimed(server, SECOND) == FLYER | {"campaign": "may"}
    gone = change(server, project, renewed, static={})
    assert gone["channels"] == [ADS, REST]
    assert claimed(server, SECOND) is None


def test_r1_static_leaves_static_numbers_without_a_match_source_alone(server: Server, project: Project) -> None:
    made = create(server, project, channels=[static(FIRST), static(SECOND, medium="print")])
    assert made["static"] == {}
    changed = change(server, project, made, static={FIRST: FLYER})
    assert changed["channels"] == [static(FIRST, source="flyer", medium="print"), static(SECOND, medium="print")]


def test_r1_channels_alone_replace_static_and_both_at_once_must_not_contradict(
    server: Server, project: Project
) -> None:
    made = create(server, project, static={FIRST: FLYER})
    replaced = change(server, project, made, channels=[ADS])
    assert (replaced["channels"], replaced["static"]) == ([ADS], {})
    with pytest.raises(Refused) as refusal:
        change(server, project, made | {"version": 2}, channels=[static(FIRST, source="radio")], static={FIRST: FLYER})
    assert list(refusal.value.errors) == ["static"]
    both = change(
        server, project, replaced, channels=[static(FIRST, source="flyer", medium="print")], static={FIRST: FLYER}
    )
    assert both["static"] == {FIRST: FLYER}


REFUSED: list[tuple[Any, str]] = [
    ([static(THIRD, source="x")], "channels.0.number"),
    ([static("12", source="x")], "channels.0.number"),
    ([{"match": {}, "kind": "static"}], "channels.0.number"),
    ([{"match": {}, "kind": "dynamic", "number": FIRST}], "channels.0.number"),
    ([static(FIRST, source="x"), static(FIRST, source="y")], "channels.1.number"),
    ([{"match": {"source": "x" * 201}, "kind": "dynamic"}], "channels.0.match.source"),
    ([{"match": {"source": "a\nb"}, "kind": "dynamic"}], "channels.0.match.source"),
    ([{"match": {"keyword": "x"}, "kind": "dynamic"}], "channels.0.match.keyword"),
    ([{"match": {}, "kind": "both"}], "channels.0.kind"),
    ([{"match": {}}], "channels.0.kind"),
    ({}, "channels"),
    ("google", "channels"),
]


def test_r1_channels_that_cannot_be_used_are_refused_with_their_field(server: Server, project: Project) -> None:
    for channels, field in REFUSED:
        with pytest.raises(Refused) as refusal:
            create(server, project, channels=channels)
        assert list(refusal.value.errors) == [field], channels
        assert refusal.value.errors[field].endswith(".")


def test_r1_a_number_that_is_to_be_bought_may_have_a_channel_before_it_is_there(
    server: Server, project: Project
) -> None:
    made = create(server, project, to_buy={"numbers": [THIRD]}, channels=[static(THIRD, source="x")])
    assert made["static"][THIRD]["source"] == "x"
    assert change(server, project, made, title="Summer")["channels"] == made["channels"]


def test_a_channel_of_a_number_that_left_the_scenario_is_no_longer_shown_and_hinders_nobody(
    server: Server, project: Project
) -> None:
    made = create(server, project, static={SECOND: FLYER})
    with server.database.writing() as session:
        number(session, SECOND).scenario_id = None
    with server.database.reading() as session:
        shown = scenario_document(session, server, session.get_one(Scenario, made["id"]))
    assert (shown["numbers"], shown["channels"]) == ([FIRST], [])
    assert change(server, project, shown, title="Summer")["static"] == {}


def test_a_static_number_from_before_there_were_channels_is_shown_as_one(server: Server, project: Project) -> None:
    made = create(server, project, static={SECOND: FLYER})
    with server.database.writing() as session:
        session.get_one(Scenario, made["id"]).channels = []
    changed = change(server, project, made, title="Summer")
    assert (changed["channels"], changed["static"]) == (made["channels"], made["static"])


words = st.sampled_from(["", "*", "g*", "google", "goo*le", "bing", "*e"])
matches = st.fixed_dictionaries({}, optional={"source": words, "medium": words})
rows = st.lists(st.tuples(matches, st.sampled_from(["dynamic", "static"])), max_size=5).map(
    lambda pairs: [
        {"match": {part: text for part, text in match.items() if text}, "kind": kind}
        | ({"number": f"+1415555{index:04}"} if kind == "static" else {})
        for index, (match, kind) in enumerate(pairs)
    ]
)
visits = st.builds(SourceParts, *[st.sampled_from(["google", "bing", "goose", "googlele", "e", "none", ""])] * 3)


@given(rows, visits)
def test_r2_a_channel_that_is_said_to_be_out_of_reach_is_never_reached(
    channels: list[dict[str, Any]], visit: SourceParts
) -> None:
    lost = never_reached(channels)
    kind, e164 = channel_for(channels, visit)
    if kind == "static":
        assert [one.get("number") for one in channels].index(e164) not in lost
    assert channel_for([one for at, one in enumerate(channels) if at not in lost], visit) == (kind, e164)


@given(rows, st.dictionaries(st.sampled_from([FIRST, SECOND, "+14155550000"]), st.just(FLYER)))
def test_r1_what_is_written_in_the_short_form_is_read_in_it(
    channels: list[dict[str, Any]], wanted: dict[str, Any]
) -> None:
    written = with_static(channels, wanted)
    assert short_form(written) == wanted
    assert with_static(written, wanted) == written
    assert wanted.items() <= static_sources(written).items()
    kept = [one for one in written if one.get("number") not in wanted]
    assert kept == [one for one in channels if one in kept], "nothing else is moved or lost"
