"""Parts of a scenario that belong to floors above (its integrations): they register here, app.py puts them in."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.server import Server

REGISTRY = "scenario_parts"


class ScenarioPart(Protocol):
    """One member of a scenario's API document, with its fields in the form."""

    name: str
    """The member's name in the API, e.g. `integrations`."""
    form_template: str
    """A Jinja template with the fields; it gets `value` (veiled), `typed` (the secrets that the draft holds), `stored` (the member
    that is stored), `errors` (`errors.at(name)`) and `disabled`."""

    def check(self, session: Session, project: Project, scenario_id: int | None, value: Any) -> Any:
        """The clean form of what came in (the whole member, after any merge), to be passed to `save`; nothing is written.

        An absent secret means: the stored one is kept. Raises Problem(422, field="integrations.ga4.measurement_id").
        """

    def save(self, session: Session, project: Project, scenario_id: int, clean: Any, now: datetime) -> dict[str, Any]:
        """Stores it; returns what can be shown this once only (secrets that were made), by dotted field name."""

    def show(self, session: Session, scenario_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
        """The member of each scenario, without secrets."""

    def copy(self, session: Session, project: Project, original_id: int, copy_id: int, now: datetime) -> None:
        """Gives a new scenario what another one has, its sealed secrets too."""

    def read_form(self, form: Mapping[str, str], before: Any) -> Any:
        """All that was typed, for a draft; a secret that is not typed again is kept from `before`."""

    def member(self, typed: Any) -> Any:
        """The member of the document that a draft's value (or None) stands for."""

    def veiled(self, typed: Any) -> tuple[Any, set[str]]:
        """A draft's value without its secrets, and the dotted names of those that it holds."""


def parts_of(server: Server) -> list[ScenarioPart]:
    return list(server.registries.setdefault(REGISTRY, []))


def add_part(server: Server, part: ScenarioPart) -> None:
    server.registries.setdefault(REGISTRY, []).append(part)
