"""Who may enter: every blueprint declares its audience, and only this module checks roles."""

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakKeyDictionary

from flask import Blueprint, Flask, current_app, g, request

from router.web.errors import Problem

if TYPE_CHECKING:
    from router.accounts.audit import Actor
    from router.accounts.models import Project

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

View = TypeVar("View", bound=Callable[..., Any])


class Audience(Enum):
    """Who a blueprint is for, and so how its visitors prove who they are."""

    PUBLIC = "anybody: web pages with the tag, balancers"
    GUESTS = "people who are about to sign in; changes need a CSRF token"
    CARRIER = "the carrier, by the signature of its request"
    PEOPLE = "people who signed in, by session cookie; changes need a CSRF token"
    PROGRAMS = "programs, by bearer token"


audiences: WeakKeyDictionary[object, Audience] = WeakKeyDictionary()
_least_roles: WeakKeyDictionary[Callable[..., Any], str] = WeakKeyDictionary()


def guard(blueprint: Blueprint, audience: Audience, authenticate: Callable[[], Any] | None = None) -> Blueprint:
    """Declares a blueprint's audience. For people and programs `authenticate` sets g.actor and g.project before each view."""
    audiences[blueprint] = audience
    if authenticate is not None:
        blueprint.before_request(authenticate)
    return blueprint


def needs(role: str) -> Callable[[View], View]:
    """Sets the least role of a view. Without it reading needs a viewer and changing an admin.

    `operator` and `person` (anybody who signed in) are for views that belong to no project.
    """

    def mark(view: View) -> View:
        _least_roles[view] = role
        return view

    return mark


def least_role() -> str:
    view = current_app.view_functions[request.endpoint or ""]
    default = "viewer" if _reads() else "admin"
    return _least_roles.get(view, default)


def needs_project() -> bool:
    return least_role() not in ("operator", "person")


def check_role(actor: "Actor", project: "Project | None") -> None:
    """
    Raises:
        Problem: 404 when the actor is nobody in this project (it does not exist for him), 403 when his role is too small
            or a change is asked for in a suspended project.
    """
    project_id = project.id if project else None
    role = least_role()
    if project is not None and actor.rank_in(project_id) == 0:
        raise Problem(404, "There is nothing here.")
    if not actor.may(role, project_id) and not (project is None and role == "viewer"):
        raise Problem(403, f"Only {'an' if role[0] in 'ao' else 'a'} {role} may do this.")
    if project and project.suspended_at and needs_project() and not (_reads() or actor.is_operator):
        raise Problem(403, "This project is suspended: nothing can be changed in it. Ask the operator.")


def _reads() -> bool:
    return request.method in SAFE_METHODS


def current_actor() -> "Actor":
    return cast("Actor", g.actor)


def current_project() -> "Project":
    """The project of this request; views without one are refused before they run."""
    project = g.get("project")
    if project is None:
        raise Problem(404, "There is no such project.")
    return cast("Project", project)


def audience_of(blueprint_name: str | None, app: Flask | None = None) -> Audience | None:
    """The audience that a blueprint of the app (of this request) declared; None: it has not."""
    blueprint = (app or current_app).blueprints.get(blueprint_name or "")
    return audiences.get(blueprint) if blueprint else None
