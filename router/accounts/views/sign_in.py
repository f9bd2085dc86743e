"""Sign-in, sign-out, the set-up of the first operator, and a person's own page with name and password."""

import secrets

from flask import Blueprint, current_app, flash, g, redirect, render_template, request, url_for
from sqlalchemy import select, update
from werkzeug.wrappers import Response
from wtforms import ValidationError

from router.accounts import audit, passwords, sessions
from router.accounts.members import change_password, clean_name, link_holds, use_link
from router.accounts.models import Person
from router.accounts.views.members import PersonForm
from router.server import current_server
from router.web.access import Audience, current_actor, guard, needs
from router.web.errors import Problem, client_address
from router.web.forms import Form, TextField, local_path
from router.web.layout import navigation

sign_in_pages = guard(Blueprint("doors", __name__), Audience.GUESTS)  # its name is a label of /metrics

KNOWN_BROWSER = "router_known"
KNOWN_FOR = 365 * 86400
NO_SUCH_LINK = (
    "This link was used already, or it is older than 24 hours. "
    "While nobody can sign in, each start of the server prints another."
)


@sign_in_pages.get("/")
@needs("person")
def home() -> Response:
    refusal = sessions.require_person()
    if refusal is not None:
        return refusal
    paths = [path for _, path, _ in navigation()] if g.project else []
    return redirect(paths[0] if paths else url_for("projects.table"))


class SignInForm(Form):
    email = TextField()
    password = TextField()


@sign_in_pages.get("/sign-in")
def sign_in() -> str:
    return render_template("accounts/sign_in.html", form=SignInForm())


@sign_in_pages.post("/sign-in")
def try_sign_in() -> Response | tuple[str, int]:
    server = current_server()
    form = SignInForm(request.form)
    email = form.email.data = form.email.data.strip().casefold()[:254]
    with server.database.reading() as session:
        person = session.scalar(select(Person).where(Person.email == email))
    try:  # who signed in with this browser before is not locked out by a guesser elsewhere
        mac = bytes.fromhex(request.cookies.get(KNOWN_BROWSER, ""))
    except ValueError:
        mac = b""
    known_browser = server.keys.verify("known browser", email.encode(), mac)
    matches = _try_password(email, person, form.password.data, known_browser)
    if matches is None:
        form.form_errors.append("Too many failed attempts. Wait 15 minutes, then try again.")
        return render_template("accounts/sign_in.html", form=form), 429
    if person is None or not matches:
        form.form_errors.append("The e-mail address or the password is wrong.")
        return render_template("accounts/sign_in.html", form=form), 422
    sessions.begin_session(person)
    response = redirect(local_path(request.args.get("next")) or url_for("doors.home"))
    mac = server.keys.sign("known browser", email.encode(), 20)
    secure = bool(current_app.config["SESSION_COOKIE_SECURE"])
    response.set_cookie(
        KNOWN_BROWSER, mac.hex(), KNOWN_FOR, path="/sign-in", secure=secure, httponly=True, samesite="Lax"
    )
    return response


@sign_in_pages.post("/sign-out")
def sign_out() -> Response:
    sessions.end_session()
    return redirect(url_for("doors.sign_in"))


@sign_in_pages.get("/set-up/<token>")
def set_up(token: str) -> str:
    with current_server().database.reading() as session:
        holds = link_holds(session, token, current_server().now())
    if not holds:
        raise Problem(404, NO_SUCH_LINK)
    return render_template("accounts/set_up.html", form=SetUpForm())


@sign_in_pages.post("/set-up/<token>")
def make_operator(token: str) -> Response | tuple[str, int]:
    form, server = SetUpForm(request.form), current_server()
    with server.database.reading() as session:
        holds = link_holds(session, token, server.now())
    if holds and not form.validate():
        return render_template("accounts/set_up.html", form=form), 422
    person = None
    if holds:
        now, password_hash = server.now(), passwords.hash_password(form.password.data)
        with server.database.writing() as session:
            person = use_link(session, token, form.email.data, clean_name(form.name.data), password_hash, now)
    if person is None:
        raise Problem(404, NO_SUCH_LINK)
    sessions.begin_session(person)
    return redirect(url_for("doors.home"))


class SetUpForm(PersonForm):
    password = TextField()

    def validate_password(self, field: TextField) -> None:
        if problem := passwords.password_problem(field.data, self.email.data):
            raise ValidationError(problem)


def _try_password(email: str, person: Person | None, password: str, known_browser: bool) -> bool | None:
    """Whether it is the person's password; None after too many failed attempts, of which every try counts as one until it succeeds."""
    server = current_server()
    client = client_address(request, server.settings.trusted_proxies)
    address = passwords.guesser_of(client, email, known_browser)
    with server.database.writing() as session:
        admitted = passwords.admit_attempt(session, email, address, server.now(), known_browser)
    if not admitted:
        return None
    if not passwords.password_matches(person.password_hash if person else None, password):
        return False
    with server.database.writing() as session:
        passwords.forgive_attempts(session, email, address)
    return True


profile = guard(Blueprint("profile", __name__, url_prefix="/profile"), Audience.PEOPLE, sessions.require_person)


class NameForm(Form):
    name = TextField()

    def validate_name(self, field: TextField) -> None:
        field.data = clean_name(field.data)
        if not field.data:
            raise ValidationError("Give your name.")


class PasswordForm(Form):
    password = TextField()
    new_password = TextField()

    def validate_password(self, field: TextField) -> None:
        """A borrowed browser is not for guessing."""
        if not _try_password(g.person.email, g.person, field.data, known_browser=True):
            raise ValidationError("This is not your password.")

    def validate_new_password(self, field: TextField) -> None:
        if not self.password.errors and (problem := passwords.password_problem(field.data, g.person.email)):
            raise ValidationError(problem)


@profile.get("")
@needs("person")
def show() -> str:
    return _page(NameForm(obj=g.person), PasswordForm())


@profile.post("/name")
@needs("person")
def rename() -> Response | tuple[str, int]:
    form = NameForm(request.form)
    if not form.validate():
        return _page(form, PasswordForm()), 422
    with current_server().database.writing() as session:
        session.execute(update(Person).where(Person.id == g.person.id).values(name=form.name.data))
    flash("Your name is saved.")
    return redirect(url_for("profile.show"))


@profile.post("/password")
@needs("person")
def set_password() -> Response | tuple[str, int]:
    server, form = current_server(), PasswordForm(request.form)
    if not form.validate():
        return _page(NameForm(obj=g.person), form), 422
    password_hash, stamp = passwords.hash_password(form.new_password.data), secrets.token_hex(16)
    with server.database.writing() as session:
        change_password(session, g.person.id, password_hash, stamp)
        audit.record(session, current_actor(), server.now(), "password changed", g.person.email, None)
    sessions.keep_session(stamp)
    flash("Your password is changed. You are signed out everywhere else.")
    return redirect(url_for("profile.show"))


def _page(named: NameForm, passwords_form: PasswordForm) -> str:
    return render_template("accounts/profile.html", named=named, form=passwords_form)
