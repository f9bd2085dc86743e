"""A call's page tells which way the call went through its flow."""

from typing import Any

import pytest

from router.reports.flow_way import sentence_of
from router.scenarios.flow_document import FlowSchema
from router.scenarios.flows import steps_in

HOURS = {
    "type": "hours",
    "branches": [{"times": [{"days": ["mon", "tue"], "opens": "09:00", "closes": "17:30"}], "steps": []}],
}
MENU = {"type": "menu", "prompt": {"text": "1?"}, "keys": {"1": []}}
PRESS = {"type": "press_key", "prompt": {"text": "5?"}, "key": "5"}
SOURCES = {"type": "by_source", "branches": [{"match": {"source": "google", "medium": "cpc"}, "steps": []}]}
AREAS = {"type": "by_area", "branches": [{"prefixes": ["+49 30", "+49 331"], "steps": []}]}
ASK = {"type": "ask", "url": "https://crm.example.com/who?key=1"}


@pytest.mark.parametrize(
    ("step", "branch", "more", "words"),
    [
        ({"type": "say", "text": "Good day!"}, "", {}, "heard “Good day!”"),
        ({"type": "play", "sound": "welcome"}, "", {}, "heard the sound welcome"),
        (MENU, "", {"leads": "ask"}, "was asked to press a key"),
        (MENU, "keys.1", {}, "pressed 1"),
        (MENU, "no_input", {}, "pressed nothing"),
        (MENU, "wrong_key", {}, "pressed a key that is not in the menu"),
        (PRESS, "", {"leads": "ask"}, "was asked to press 5"),
        (PRESS, "", {}, "pressed 5"),
        (PRESS, "otherwise", {}, "did not press 5"),
        ({"type": "voicemail"}, "", {"leads": "record"}, "was asked for a message"),
        (HOURS, "branches.0.steps", {}, "called in the opening hours Mon, Tue 09:00–17:30"),
        (HOURS, "holidays", {}, "called on a holiday"),
        (HOURS, "otherwise", {}, "called at any other time"),
        (SOURCES, "branches.0.steps", {}, "came from google / cpc"),
        (SOURCES, "otherwise", {}, "came from another source, or from nowhere known"),
        ({"type": "by_caller"}, "repeat", {}, "had called before"),
        ({"type": "by_caller"}, "otherwise", {}, "could not be told apart from others"),
        (AREAS, "branches.0.steps", {}, "called from +4930, +49331"),
        (AREAS, "otherwise", {}, "called from elsewhere"),
        (ASK, "otherwise", {"found": [["answer", "s1", ""]]}, "had no answer of crm.example.com in time"),
        (ASK, "answers.vip", {"found": [["answer", "s1", "vip"]]}, "went by the answer “vip” of crm.example.com"),
        ({"type": "hang_up"}, "", {}, "was let go"),
        ({"type": "ring", "destinations": [{"to": "+4930123456"}]}, "", {"leads": "ring"}, ""),
    ],
)
def test_each_step_has_words(step: dict[str, Any], branch: str, more: dict[str, Any], words: str) -> None:
    document = FlowSchema.model_validate({"steps": [step]}).document()
    steps = {each["id"]: each for _, each in steps_in(document)}
    sentence = sentence_of({"leads": "end", "way": [["s1", branch]], **more}, steps)
    assert sentence == (f"The caller {words}" if words else "")


def test_the_steps_of_one_answer_are_one_sentence() -> None:
    document = FlowSchema.model_validate({"steps": [HOURS, {"type": "say", "text": "x" * 99}]}).document()
    steps = {each["id"]: each for _, each in steps_in(document)}
    sentence = sentence_of({"leads": "end", "way": [["s1", "otherwise"], ["s2", ""], ["gone", ""]]}, steps)
    assert sentence == f"The caller called at any other time, then heard “{'x' * 79}…”"
