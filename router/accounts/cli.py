"""Commands for people and tokens. `router.cli` passes a function that makes the server.

Commands for people import what tokens do not need, so that `router token add` starts quickly."""

import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from sqlalchemy.orm import Session

from router.accounts import audit, tokens
from router.accounts.audit import Actor
from router.accounts.models import Project, demand_key
from router.db import schema_state
from router.server import Server

Opener = Callable[[], Server]
CONSOLE = Actor("the console", is_operator=True)
ROLES = click.Choice(["owner", "admin", "viewer"])


@click.group("user")
def user() -> None:
    """People who sign in."""


@click.group("token")
def token() -> None:
    """Tokens of programs that use the API."""


@user.command("add")
@click.argument("email")
@click.option("--name", default="", help="How pages call this person.")
@click.option("--operator", is_flag=True, help="Sees all projects.")
@click.option("--project", type=int, help="The project's id.")
@click.option("--role", type=ROLES, default="admin", show_default=True, help="The role in that project.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input instead of making one.")
@click.pass_obj
def add_user(
    open_server: Opener, email: str, name: str, operator: bool, project: int | None, role: str, password_stdin: bool
) -> None:
    """Add a person, or give one that exists a role in a project."""
    from router.accounts import members

    email, password, password_hash = _read_sign_in(email, password_stdin)
    with _changing(open_server) as (server, session):
        person, now = members.person_with(session, email), server.now()
        if person and (operator or project is None):
            raise click.ClickException(f"{email} is there already.")
        made = person or members.create_person(session, email, password_hash, now, name, operator)
        if project is not None:
            members.set_role(session, project_of(session, project).id, made.id, role)
        audit.record(session, CONSOLE, now, "person added", email, project, operator=operator)
    click.echo(f"{email} has the role {role}." if person else _say_sign_in(email, password, password_stdin))


@user.command("password")
@click.argument("email")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input instead of making one.")
@click.pass_obj
def reset_password(open_server: Opener, email: str, password_stdin: bool) -> None:
    """Give a person another password; all sessions of the old one end."""
    from router.accounts import members, passwords

    email, password, password_hash = _read_sign_in(email, password_stdin)
    with _changing(open_server) as (server, session):
        person = members.person_with(session, email)
        if person is None:
            raise click.ClickException(f"There is nobody with the e-mail address {email}.")
        members.change_password(session, person.id, password_hash, secrets.token_hex(16))
        passwords.forgive_attempts(session, email)
        audit.record(session, CONSOLE, server.now(), "password reset", email, None)
    click.echo(_say_sign_in(email, password, password_stdin))


@token.command("add")
@click.argument("name")
@click.option("--project", type=int, help="The project's id; without it the token is an operator's.")
@click.option("--role", type=ROLES, default="owner", show_default=True, help="The role in that project.")
@click.pass_obj
def add_token(open_server: Opener, name: str, project: int | None, role: str) -> None:
    """Add an API token; it is the last word printed, and shown this once."""
    with _changing(open_server) as (server, session):
        project_id = project_of(session, project).id if project is not None else None
        _, text = tokens.create_token(session, name, server.now(), project_id, role)
        audit.record(session, CONSOLE, server.now(), "token created", name, project_id)
    click.echo(f"Token {name} ({'operator' if project is None else role}): {text}")


@contextmanager
def opened(open_server: Opener) -> Iterator[Server]:
    """A server whose schema is current and whose key is that of the database, for the time of a command."""
    server = open_server()
    try:
        if schema_state(server.database) != "current":
            raise click.ClickException("The database's schema is not this version's. Run “router migrate” first.")
        demand_key(server)
        yield server
    finally:
        server.database.dispose()


@contextmanager
def _changing(open_server: Opener) -> Iterator[tuple[Server, Session]]:
    with opened(open_server) as server, server.database.writing() as session:
        yield server, session


def project_of(session: Session, project_id: int) -> Project:
    project = session.get(Project, project_id)
    if project is None:
        raise click.ClickException(f"There is no project {project_id}.")
    return project


def _read_sign_in(email: str, password_stdin: bool) -> tuple[str, str, str]:
    """The e-mail address as it is stored, the password from standard input or a random one, and its hash."""
    from router.accounts import passwords
    from router.accounts.projects import parse_email

    try:
        email = parse_email(email)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    if not password_stdin:
        password = passwords.random_password()
    else:
        password = sys.stdin.readline().rstrip("\r\n")
        if problem := passwords.password_problem(password, email):
            raise click.ClickException(problem)
    return email, password, passwords.hash_password(password)


def _say_sign_in(email: str, password: str, password_stdin: bool) -> str:
    return f"{email} signs in with the password {'given.' if password_stdin else password}"
