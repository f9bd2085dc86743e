"""R2, R6: the wizard's first step says what the numbers tell, and what happens when they run short."""

from typing import Any

from werkzeug.datastructures import MultiDict

from router.scenarios.wizard.forms import ScenarioForms, clean_form, document_of_values, read_step, values_of_document

FIRST, SECOND = "+14155550121", "+14155550122"


def typed(**fields: str) -> dict[str, Any]:
    """What the steps hold of a new scenario when its first one was sent like this."""
    form = clean_form(MultiDict({"numbers": FIRST, **fields}))
    return values_of_document({}, [], "EUR") | {"numbers": read_step("numbers", form, [], {})}


def test_r2_what_was_chosen_for_a_shortage_is_in_the_document_and_comes_back() -> None:
    chosen = {"aim": "source", "exhausted": "overflow", "overflow": SECOND, "hold_seconds": "90"}
    document, errors = document_of_values(typed(**chosen), [], "EUR")
    assert {name: document[name] for name in chosen} == chosen | {"hold_seconds": 90}
    assert not errors
    shown = values_of_document(document, [], "EUR")["numbers"]
    assert {name: shown[name] for name in chosen} == chosen


def test_r2_who_says_nothing_gets_the_defaults_and_so_does_a_draft_that_knows_nothing_of_it() -> None:
    values = typed()
    document, _ = document_of_values(values, [], "EUR")
    said = ("aim", "exhausted", "overflow", "hold_seconds")
    assert [document[name] for name in said] == ["visit", "share", None, 150]
    for name in said[1:]:
        del values["numbers"][name]
    assert document_of_values(values, [], "EUR")[0] == document


def test_r2_errors_stand_where_it_was_typed() -> None:
    values = typed(hold_seconds="soon", overflow=FIRST)
    assert document_of_values(values, [], "EUR")[0]["hold_seconds"] == "soon"
    forms = ScenarioForms(values)
    forms.place({"hold_seconds": "No.", "overflow": "It is lent.", "exhausted": "What?"})
    fields = [forms.steps["numbers"][name] for name in ("hold_seconds", "overflow", "exhausted")]
    assert [field.errors for field in fields] == [["No."], ["It is lent."], ["What?"]]
