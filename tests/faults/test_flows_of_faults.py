"""The flows through which `FLOWS=1 make faults` plays its calls."""

from typing import get_args

from faults.flows import companies_of_every_step, line_of
from router.scenarios.flow_document import FlowSchema
from router.scenarios.flow_steps import AnyStep
from router.scenarios.flows import lines_in

COMPANIES = companies_of_every_step("http://127.0.0.1:8001", "http://127.0.0.1:8002")


def test_they_have_every_step_there_is() -> None:
    kinds = {kind.model_fields["type"].annotation for kind in get_args(get_args(AnyStep)[0])}
    for company in COMPANIES:
        flows = [FlowSchema.model_validate(flow.document) for flow in company.flows]
        steps = [step for flow in flows for _, step in flow.walk()]
        assert {type(step).model_fields["type"].annotation for step in steps} == kinds
        rings = [step for step in steps if step.type == "ring"]
        assert {ring.order for ring in rings} == {"in_turn", "at_once", "round_robin"}


def test_projects_have_no_line_in_common_and_each_right_way_keeps_to_its_own() -> None:
    lines = [{line["to"] for flow in company.flows for _, line, _ in lines_in(flow.document)} for company in COMPANIES]
    assert lines[0].isdisjoint(lines[1])
    for place, (company, own) in enumerate(zip(COMPANIES, lines, strict=True)):
        ways = [way for flow in company.flows for case in flow.cases for way in case.ways]
        rung = {line.partition("?")[0] for way in ways for line in way.rung}
        assert rung <= own
        assert line_of(place, "never") in own - rung
