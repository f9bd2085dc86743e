"""Parts of upper floors in the wizard."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import jinja2
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.server import Server
from router.web.errors import Problem
from tests.people import Cast, sign_in
from tests.scenarios.wizard.test_wizard import begin

pytestmark = pytest.mark.one_database


@pytest.fixture
def server(app: Flask) -> Server:
    return app.extensions["router"]  # type: ignore[no-any-return]  # Flask does not type its extensions


@pytest.fixture
def alice(client: FlaskClient, cast: Cast) -> FlaskClient:
    return sign_in(client, cast.alice)


class Notes:
    """A part of an upper floor that makes a secret."""

    name = "notes"
    form_template = "scenarios/_test_notes.html"

    def check(self, session: Session, project: Project, scenario_id: int | None, value: Any) -> Any:
        if value.get("text") == "bad":
            raise Problem(422, "This note is bad.", "integrations.notes.text")
        return value

    def save(self, session: Session, project: Project, scenario_id: int, clean: Any, now: datetime) -> dict[str, Any]:
        return {"notes.key": "whsec_once"} if clean else {}

    def show(self, session: Session, scenario_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
        return {}

    def copy(self, session: Session, project: Project, original_id: int, copy_id: int, now: datetime) -> None:
        raise NotImplementedError

    def read_form(self, form: Mapping[str, str], before: Any) -> Any:
        return {"text": form.get("notes.text", "")}

    def member(self, typed: Any) -> Any:
        return typed or {}

    def veiled(self, typed: Any) -> tuple[Any, set[str]]:
        return typed or {}, set()

    def beside(self, session: Session, project: Project, typed: Any) -> dict[str, Any]:
        return {}

    def preview(self, typed: Any) -> list[str]:
        return []


def test_parts_of_upper_floors_are_in_the_wizard_and_their_secrets_are_shown_once(
    app: Flask, alice: FlaskClient, server: Server
) -> None:
    added = jinja2.DictLoader({"scenarios/_test_notes.html": '<input name="notes.text" value="{{ value.text }}">'})
    app.jinja_loader = jinja2.ChoiceLoader([added, app.jinja_loader])  # type: ignore[assignment, list-item]  # Flask's own is one
    server.scenario_parts.append(Notes())
    base = begin(alice)
    for step in ("numbers", "forwarding", "tagging", "channels"):
        alice.post(f"{base}/{step}", data={"title": "Spring", "do": "continue"})
    data = {"title": "Spring", "notes.text": "bad"}
    refused = alice.post(f"{base}/integrations", data=data | {"do": "continue"})
    assert "This note is bad." in refused.text
    assert 'name="notes.text" value="bad"' in refused.text
    stored = alice.post(f"{base}/integrations", data=data | {"notes.text": "good", "do": "save"})
    assert "whsec_once" in stored.text
    assert "whsec_once" not in alice.get("/scenarios").text
