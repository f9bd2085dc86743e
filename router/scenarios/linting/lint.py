"""The linter (R2): what somebody should look at in a scenario before it is enabled, each with its field and the wizard's step.

Rules look at facts that were read once for all scenarios of a page, so the number of statements does not depend on how many there are.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.scenarios.linting.facts import Linted, read_document, read_stored
from router.scenarios.linting.findings import Finding
from router.scenarios.linting.rules import RULES
from router.server import Server

__all__ = ["Finding", "LintRule", "Linted", "add_lint_rule", "lint", "lint_stored"]

REGISTRY = "lint_rules"

LintRule = Callable[[Session, Sequence[Linted]], Mapping[int, Iterable[Finding]]]
"""A rule of an upper floor: it gets all scenarios at once and answers its findings by `scenario_id` (0: one that is not stored).
Tables use it too: the number of its statements may not depend on how many scenarios there are."""


def add_lint_rule(server: Server, rule: LintRule) -> None:
    server.registries.setdefault(REGISTRY, []).append(rule)


def lint(
    session: Session, server: Server, project: Project, scenario_id: int | None, document: Mapping[str, Any]
) -> list[Finding]:
    """What is to be said about a document of the API, stored or not; what cannot be read of it is left out.

    Args:
        scenario_id: the scenario that it is about; None: a new one.
    """
    linted = read_document(session, server, project, scenario_id, document)
    return _findings(session, server, [linted])[linted.scenario_id]


def lint_stored(
    session: Session, server: Server, project: Project, scenario_ids: Iterable[int]
) -> dict[int, list[Finding]]:
    """The findings of each of these scenarios of the project as they are stored; nothing is said about the claims of disabled others."""
    return _findings(session, server, read_stored(session, server, project, list(scenario_ids)))


def _findings(session: Session, server: Server, linted: Sequence[Linted]) -> dict[int, list[Finding]]:
    found = {one.scenario_id: [finding for rule in RULES for finding in rule(one)] for one in linted}
    rules: list[LintRule] = server.registries.get(REGISTRY, [])
    for rule in rules:
        for scenario_id, findings in rule(session, linted).items():
            found[scenario_id] += findings
    return found
