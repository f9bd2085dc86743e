"""A person's own page: name and password."""

import secrets

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from sqlalchemy import update
from werkzeug.wrappers import Response

from router.accounts import audit, passwords, sessions
from router.accounts.access import Audience, current_actor, guard, needs
from router.accounts.filters import values_of
from router.accounts.models import Person
from router.accounts.people import change_password
from router.server import current_server
from router.web import client_address

profile = guard(Blueprint("profile", __name__, url_prefix="/profile"), Audience.PEOPLE, sessions.require_person)


@profile.get("")
@needs("person")
def show() -> str:
    return _page({})


@profile.post("/name")
@needs("person")
def rename() -> Response | tuple[str, int]:
    name = " ".join(values_of(request.form).get("name", "").split())[:120]
    if not name:
        return _page({"name": "Give your name."}), 422
    with current_server().database.writing() as session:
        session.execute(update(Person).where(Person.id == g.person.id).values(name=name))
    flash("Your name is saved.")
    return redirect(url_for("profile.show"))


@profile.post("/password")
@needs("person")
def set_password() -> Response | tuple[str, int]:
    values, server = values_of(request.form), current_server()
    errors = _password_errors(values)
    if errors:
        return _page(errors), 422
    password_hash, stamp = passwords.hash_password(values["new_password"]), secrets.token_hex(16)
    with server.database.writing() as session:
        change_password(session, g.person.id, password_hash, stamp)
        audit.record(session, current_actor(), server.now(), "password changed", g.person.email, None)
    sessions.keep_session(stamp)
    flash("Your password is changed. You are signed out everywhere else.")
    return redirect(url_for("profile.show"))


def _password_errors(values: dict[str, str]) -> dict[str, str]:
    if not _is_own_password(values.get("password", "")):
        return {"password": "This is not your password."}
    problem = passwords.password_problem(values.get("new_password", ""), g.person.email)
    return {"new_password": problem} if problem else {}


def _is_own_password(password: str) -> bool:
    """Counted like a sign-in, so that a borrowed browser cannot be used to guess."""
    server = current_server()
    client = client_address(request, server.settings.trusted_proxies)
    address = passwords.guesser_of(client, g.person.email, known_browser=True)
    with server.database.writing() as session:
        admitted = passwords.admit_attempt(session, g.person.email, address, server.now(), known_browser=True)
    if not admitted or not passwords.password_matches(g.person.password_hash, password):
        return False
    with server.database.writing() as session:
        passwords.forgive_attempts(session, g.person.email, address)
    return True


def _page(errors: dict[str, str]) -> str:
    return render_template("accounts/profile.html", errors=errors)
