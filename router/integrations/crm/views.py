"""CRMs for programs: who and what there is to choose from, and whether a key may do what a lead needs."""

from typing import Any

from flask import Blueprint, request
from pydantic import BaseModel, ConfigDict, Field

from router.accounts.sessions import require_token
from router.integrations.base import DeliveryError
from router.integrations.crm.connect import CrmButtons
from router.integrations.settings import IntegrationsPart
from router.server import current_server
from router.web.access import Audience, current_project, guard
from router.web.api import described, parse
from router.web.errors import Problem, read_json

crm_api = guard(
    Blueprint("crm_api", __name__, url_prefix="/api/v1/projects/<int:project_id>/crm"),
    Audience.PROGRAMS,
    require_token,
)


class CrmCheckBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    crm: dict[str, Any] = Field(description="As the member `integrations.crm` of a scenario, with its `kind`.")
    scenario: int | None = Field(None, description="Whose stored key is taken where `crm` has none.")


class CrmChoice(BaseModel):
    value: str
    label: str
    within: str


class CrmAccountDocument(BaseModel):
    """What the CRM said. `identity` is its own name of the account; null: this key may not read it."""

    identity: str | None
    title: str
    people: list[CrmChoice]
    pipelines: list[CrmChoice]
    stages: list[CrmChoice]
    fields: list[CrmChoice]
    problems: list[str]


class CrmDone(BaseModel):
    """What was done, and what could not be, in sentences. `fields`: the lines of `crm.fields` that fill what was made."""

    said: list[str]
    problems: list[str]
    fields: dict[str, str]


@crm_api.post("/check")
@described(body=CrmCheckBody, answer=CrmAccountDocument)
def post_check(project_id: int) -> dict[str, Any]:
    """Ask a CRM who and what there is to choose from, and try what a lead needs; nothing is left there. 502 when it does not answer."""
    try:
        checked = _buttons().look()
    except DeliveryError as error:
        raise Problem(502, str(error), "crm") from None
    choices = {
        name: [{"value": choice.value, "label": choice.label, "within": choice.within} for choice in choices]
        for name, choices in vars(checked.choices).items()
    }
    account = {"identity": checked.account.identity, "title": checked.account.title}
    return account | choices | {"problems": checked.problems}


@crm_api.post("/fields")
@described(body=CrmCheckBody, answer=CrmDone)
def post_fields(project_id: int) -> dict[str, Any]:
    """Make fields for visit number, source, call id and so on in the CRM, those that are not there. 502 when it does not answer."""
    return _done("fields")


@crm_api.post("/test")
@described(body=CrmCheckBody, answer=CrmDone)
def post_test(project_id: int) -> dict[str, Any]:
    """Make a test lead in the CRM, for a number that is nobody's. 502 when it does not answer."""
    return _done("test")


def _done(verb: str) -> dict[str, Any]:
    pressed = _buttons().press(verb)
    for field, sentence in pressed.errors.items():
        raise Problem(502, sentence, field)
    return {"said": pressed.said, "problems": pressed.problems, "fields": pressed.typed or {}}


def _buttons() -> CrmButtons:
    body = parse(CrmCheckBody, read_json(request))
    (part,) = (part for part in current_server().scenario_parts if isinstance(part, IntegrationsPart))
    return part.crm_buttons(current_project(), body.scenario, body.crm)
