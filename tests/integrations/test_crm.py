"""What every CRM has (R10): whether a phone field as people typed it is the caller's, as docs/crm.md says and in every country, and what
the templates of a lead's fields are filled with."""

import re
from pathlib import Path
from typing import Any

import phonenumbers
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat

from router.attribution.tracking.parameters import CLICK_IDS
from router.db import Database
from router.demo.odoo import like
from router.integrations.crm.matching import FoundLead, Match, Switches, digit_rows, lead_to_add_to, match
from router.integrations.crm.placeholders import fill, placeholder_values, unknown_placeholder
from router.lib.phones import same_line, spellings_of_line
from tests.factories import lease_decision, make_call, make_project, make_visit
from tests.lib.phones.test_documented import DOCUMENT
from tests.lib.phones.test_reading import e164, example_numbers

FORMS = [PhoneNumberFormat.E164, PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.NATIONAL]
Example = tuple[str, phonenumbers.PhoneNumber]
FOUND = {"typed": Match.TYPED, "extension": Match.EXTENSION, "abroad": Match.ABROAD, "somebody else": None}


def documented() -> list[list[str]]:
    head = "| phone field | contact's country | caller | how it is found |"
    lines = DOCUMENT.with_name("crm.md").read_text("utf-8").splitlines()
    rows = []
    for line in lines[lines.index(head) + 2 :]:
        if not line.startswith("|"):
            return rows
        rows.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    raise AssertionError("the table has no end")


def search_finds(text: str, caller: str) -> bool:
    """Whether the CRM's own search brings this text up at all."""
    patterns = [like(f"%{'%'.join(row)}%", anywhere=False) for row in digit_rows(caller)]
    return any(pattern.fullmatch(text) for pattern in patterns)


@pytest.mark.parametrize(("text", "country", "caller", "how"), documented())
def test_a_phone_field_is_judged_as_documented(text: str, country: str, caller: str, how: str) -> None:
    assert match(text, caller, [country, "DE", "DE"]) is FOUND[how]
    assert search_finds(text, caller) or FOUND[how] is None


def test_the_document_has_matches_of_each_kind_and_others() -> None:
    assert {how for *_, how in documented()} == set(FOUND)
    assert sum(how == "somebody else" for *_, how in documented()) >= 8


@given(
    example_numbers,
    st.sampled_from(FORMS),
    st.sampled_from([" ", "\u00a0", "-", "–", ".", "/", "·"]),
    st.sampled_from(
        ["{}", "{} / +49 30 7654321", "+49 30 7654321, mobil {}", "{} (Herr Meier)", "Tel. {} abends", "\u202a{}\u202c"]
    ),
    st.data(),
)
def test_a_contact_whose_text_is_the_callers_number_in_any_usual_spelling_is_found(
    example: Example, form: int, separator: str, around: str, data: st.DataObject
) -> None:
    region, number = example
    text = around.format(phonenumbers.format_number(number, form).replace(" ", separator))
    caller = data.draw(st.sampled_from(spellings_of_line(e164(number))))
    countries = data.draw(st.sampled_from([[region], ["DE", region], [region, "DE", "US"]]))
    assert search_finds(text, caller)
    assert match(text, caller, countries) is Match.TYPED


@st.composite
def near_misses(draw: st.DrawFn) -> tuple[str, str, str]:
    """A text, its country, and a caller whose number is alike and another: a digit changed, added, dropped, another country's."""
    region, number = draw(example_numbers)
    own, digits = e164(number), phonenumbers.national_significant_number(number)
    place = draw(st.integers(1, len(own) - 1))
    other = draw(
        st.one_of(
            st.sampled_from("0123456789").map(lambda digit: own[:place] + digit + own[place + 1 :]),
            st.integers(1, 4).map(lambda count: own[:-count]),
            st.text("0123456789", min_size=1, max_size=4).map(lambda more: own + more),
            st.sampled_from(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)).map(lambda code: f"+{code}{digits}"),
        )
    )
    text = phonenumbers.format_number(number, draw(st.sampled_from(FORMS)))
    around = draw(st.sampled_from(["{}", "{} (Herr Meier)", "Tel. {} abends", "{} / {}"]))
    assume(not same_line(own, other))
    return around.format(text, text), region, other


@given(near_misses())
def test_a_contact_whose_number_is_another_line_is_never_taken(case: tuple[str, str, str]) -> None:
    text, country, caller = case
    assert match(text, caller, [country, country]) is None


@given(st.text(max_size=120) | st.text("+0123456789 ()/-.,;x", max_size=100), example_numbers)
def test_no_text_breaks_the_judgement_and_what_matches_was_searched_for(text: str, example: Example) -> None:
    caller = e164(example[1])
    if match(text, caller, [example[0], "DE"]) is not None:
        assert search_finds(text, caller)


@pytest.mark.parametrize(
    ("leads", "known", "switches", "chosen"),
    [
        ([(9, False, Match.KNOWN), (5, True, Match.TYPED)], None, (True, True), 5),
        ([(9, True, Match.EXTENSION), (5, True, Match.TYPED)], None, (True, True), 5),
        ([(9, True, Match.TYPED), (5, True, Match.TYPED)], None, (True, True), 9),
        ([(9, True, Match.TYPED), (5, True, Match.TYPED)], 5, (True, True), 5),
        ([(9, True, Match.TYPED), (5, False, Match.KNOWN)], 5, (True, True), 9),
        ([(9, True, Match.TYPED), (5, False, Match.KNOWN)], None, (True, False), 5),
        ([(9, False, Match.TYPED), (5, False, Match.ABROAD)], None, (True, True), 9),
        ([(9, False, Match.TYPED)], None, (False, True), "create"),
        ([(9, True, Match.TYPED)], None, (False, False), "create"),
        ([(9, False, Match.KNOWN, True)], 9, (True, True), "create"),
        ([(9, False, Match.KNOWN, True)], 9, (True, True, True), 9),
        ([(9, False, Match.KNOWN, True), (5, False, Match.TYPED)], 9, (True, True), 5),
        ([(9, False, Match.KNOWN, True), (5, False, Match.TYPED)], 9, (True, True, True), 5),
        ([(9, False, Match.KNOWN, True), (5, True, Match.EXTENSION)], 9, (True, True, True), 5),
        ([(9, False, Match.KNOWN, True)], None, (False, False, True), 9),
        ([], None, (True, True), "customer"),
        ([], None, (False, True), "create"),
    ],
)
def test_r10_which_of_several_leads(
    leads: list[tuple[Any, ...]], known: int | None, switches: tuple[bool, ...], chosen: int | str
) -> None:
    choice = lead_to_add_to([FoundLead(*lead) for lead in leads], known, True, Switches(*switches))
    assert (choice.id if isinstance(choice, FoundLead) else choice) == chosen


def test_every_documented_link_is_there() -> None:
    text = DOCUMENT.with_name("crm.md").read_text("utf-8")
    assert all((Path(DOCUMENT).parent / link).exists() for link in re.findall(r"\]\(([^)#]+)\)", text))


TOLD = {"roistat_param1": "a", "roistat_param5": "{phone}", "plan": "gold", "order.id": "7"}


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("{roistatParam1}/{roistatParam2}/{roistatParam5}", "a//{phone}"),
        ("{param.plan}/{param.order.id}/{param.roistat_param1}", "gold/7/a"),
        ("{param.never_told}{param.Plan}", ""),
    ],
)
def test_r10_own_fields_fill_the_fields_of_a_lead_and_are_no_templates_themselves(
    database: Database, template: str, filled: str
) -> None:
    assert unknown_placeholder(template) is None
    with database.writing() as session:
        project = make_project(session)
        visit = make_visit(session, project, params=TOLD)
        call = make_call(session, project, **lease_decision(visit))
        assert fill(template, placeholder_values(call, visit, project)) == filled
        assert fill(template, placeholder_values(call, None, project)) == "/" * filled.count("/")


def test_r10_click_ids_are_placeholders_by_their_names(database: Database) -> None:
    kept = {name: f"id of {name}" for name in CLICK_IDS}
    template = "".join(f"[{{{name}}}]" for name in CLICK_IDS)
    assert unknown_placeholder(template) is None
    with database.writing() as session:
        project = make_project(session)
        known, none = make_visit(session, project, click_ids=kept), make_visit(session, project, number=2, click_ids={})
        call = make_call(session, project, **lease_decision(known))
        assert fill(template, placeholder_values(call, known, project)) == "".join(f"[{one}]" for one in kept.values())
        for visit in (none, None):
            assert fill(template, placeholder_values(call, visit, project)) == "[]" * len(CLICK_IDS)


@pytest.mark.parametrize(
    "name", ["param.", "param.a b", "param." + "x" * 41, "param", "roistatParam6", "roistat_param1"]
)
def test_r10_a_placeholder_that_cannot_be_a_field_is_pointed_out(name: str) -> None:
    assert unknown_placeholder(f"{{phone}} {{{name}}}") == name
