"""Alice's shop, whose colleague Bob has a telephone of his own and whose number rings the company's line."""

from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.scenarios.models import Scenario
from tests.factories import COMPANY_LINE, make_member, make_person, make_project, make_scenario

NUMBER, OTHER = "+12125552001", "+12125552002"
"""The number of its scenario, and one for another use."""
COLLEAGUE = "+14155550144"


def make_shop(session: Session) -> tuple[Project, Scenario]:
    project = make_project(session, country="US", own_numbers=[{"number": COLLEAGUE, "remark": "Bob"}])
    make_member(session, project, make_person(session, "alice@example.com"))
    return project, make_scenario(session, project, [NUMBER], destinations=[COMPANY_LINE])
