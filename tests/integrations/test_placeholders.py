"""R10: templates of CRM fields know the site's own fields, by their names and by the market's."""

import pytest

from router.attribution.tracking.parameters import CLICK_IDS
from router.db import Database
from router.integrations.placeholders import fill, placeholder_values, unknown_placeholder
from tests.integrations.factories import make_call, make_project, make_scenario, make_visit

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
        call = make_call(session, make_scenario(session, project), visit)
        assert fill(template, placeholder_values(call, visit, project)) == filled
        assert fill(template, placeholder_values(call, None, project)) == "/" * filled.count("/")


def test_r10_click_ids_are_placeholders_by_their_names(database: Database) -> None:
    kept = {name: f"id of {name}" for name in CLICK_IDS}
    template = "".join(f"[{{{name}}}]" for name in CLICK_IDS)
    assert unknown_placeholder(template) is None
    with database.writing() as session:
        project = make_project(session)
        known, none = make_visit(session, project, click_ids=kept), make_visit(session, project, number=2, click_ids={})
        call = make_call(session, make_scenario(session, project), known)
        assert fill(template, placeholder_values(call, known, project)) == "".join(f"[{one}]" for one in kept.values())
        for visit in (none, None):
            assert fill(template, placeholder_values(call, visit, project)) == "[]" * len(CLICK_IDS)


@pytest.mark.parametrize(
    "name", ["param.", "param.a b", "param." + "x" * 41, "param", "roistatParam6", "roistat_param1"]
)
def test_r10_a_placeholder_that_cannot_be_a_field_is_pointed_out(name: str) -> None:
    assert unknown_placeholder(f"{{phone}} {{{name}}}") == name
