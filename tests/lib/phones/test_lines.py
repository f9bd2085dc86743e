"""Spellings of one line: two are one caller exactly when a rule with a source says so."""

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.lib.phones import line_of, same_line, spellings_of_line
from router.lib.phones.lines import DOUBLE_SPELLINGS, DoubleSpelling
from tests.properties import examples

BOTH_VALID = {"AR", "PS", "SM", "GA"}
"""Where libphonenumber knows both spellings; of Gabon it still has the numbers from before 2019."""

spelled = st.sampled_from(DOUBLE_SPELLINGS).flatmap(
    lambda rule: st.tuples(st.just(rule), st.from_regex(rule.other, fullmatch=True))
)
anything = st.integers(min_value=10**6, max_value=10**15 - 1).map(lambda digits: f"+{digits}")


def is_valid(e164: str) -> bool:
    return phonenumbers.is_valid_number(phonenumbers.parse(e164, None))


@given(spelled)
def test_both_spellings_find_each_other(case: tuple[DoubleSpelling, str]) -> None:
    rule, other = case
    usual = line_of(other)
    assert rule.usual.fullmatch(usual)
    assert line_of(usual) == usual
    assert same_line(other, usual)
    assert usual in spellings_of_line(other)
    assert other in spellings_of_line(usual)


@settings(max_examples=examples(500))
@given(spelled.filter(lambda case: case[0].country not in BOTH_VALID))
def test_two_numbers_that_are_both_in_use_are_never_taken_for_one(case: tuple[DoubleSpelling, str]) -> None:
    assert not is_valid(case[1]), "the plan knows the old spelling as a number of its own"


@given(anything)
def test_the_folded_form_is_stable_and_a_line_has_few_spellings(e164: str) -> None:
    assert line_of(line_of(e164)) == line_of(e164)
    spellings = spellings_of_line(e164)
    assert spellings[0] == e164
    assert len(spellings) <= 4
    assert {line_of(one) for one in spellings} == {line_of(e164)}


@pytest.mark.parametrize("rule", DOUBLE_SPELLINGS, ids=lambda rule: f"{rule.country} {rule.to_usual}")
def test_every_rule_names_its_source(rule: DoubleSpelling) -> None:
    assert len(rule.source) > 30


def test_nobody_is_the_same_line_as_nobody() -> None:
    assert not same_line(None, None)
    assert not same_line("+14155552671", None)
