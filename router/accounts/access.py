"""Who may enter: every blueprint declares its audience, and roles are checked here and nowhere else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar, cast

from flask import Blueprint, current_app, g, request

from router.accounts.models import Project
from router.web import Problem

RANK = {"viewer": 1, "admin": 2, "owner": 3, "operator": 4}
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

View = TypeVar("View", bound=Callable[..., Any])


class Audience(Enum):
    """Who a blueprint is for, and so how its visitors prove who they are."""

    PUBLIC = "anybody: web pages with the tag, balancers, the sign-in page"
    CARRIER = "the carrier, by the signature of its request"
    PEOPLE = "people who signed in, by session cookie; changes need a CSRF token"
    PROGRAMS = "programs, by bearer token"


@dataclass(frozen=True)
class Actor:
    """Who acts: a person or a program, with a role in each project."""

    name: str
    """For the audit trail: an e-mail address, or `token NAME`."""
    person_id: int | None = None
    token_id: int | None = None
    is_operator: bool = False
    roles: Mapping[int, str] = field(default_factory=dict)

    def rank_in(self, project_id: int | None) -> int:
        if self.is_operator:
            return RANK["operator"]
        return RANK.get(self.roles.get(project_id or 0, ""), 0)

    def may(self, role: str, project_id: int | None) -> bool:
        return self.rank_in(project_id) >= RANK[role]


def guard(blueprint: Blueprint, audience: Audience, authenticate: Callable[[], Any] | None = None) -> Blueprint:
    """Declares a blueprint's audience. For people and programs `authenticate` sets g.actor and g.project before each view."""
    blueprint.__dict__["audience"] = audience
    if authenticate is not None:
        blueprint.before_request(authenticate)
    return blueprint


def needs(role: str) -> Callable[[View], View]:
    """Sets the least role of a view. Without it reading needs a viewer and changing an admin."""

    def mark(view: View) -> View:
        view.__dict__["least_role"] = role
        return view

    return mark


def least_role() -> str:
    """The least role that the view of this request asks for."""
    view = current_app.view_functions[request.endpoint or ""]
    default = "viewer" if request.method in SAFE_METHODS else "admin"
    return str(view.__dict__.get("least_role", default))


def check_role(actor: Actor, project: Project | None) -> None:
    """
    Raises:
        Problem: 404 when the actor is nobody in this project (it does not exist for him), 403 when his role is too small.
    """
    project_id = project.id if project else None
    role = least_role()
    if project is not None and actor.rank_in(project_id) == 0:
        raise Problem(404, "There is nothing here.")
    if not actor.may(role, project_id) and not (project is None and role == "viewer"):
        raise Problem(403, f"Only {_article(role)} may do this.")


def _article(role: str) -> str:
    return ("an " if role[0] in "ao" else "a ") + role


def current_actor() -> Actor:
    return cast(Actor, g.actor)


def current_project() -> Project:
    """The project of this request; views without one are refused before they run."""
    project = g.get("project")
    if project is None:
        raise Problem(404, "There is no such project.")
    return cast(Project, project)
