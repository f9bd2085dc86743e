"""API tokens: stored as digests, shown once, revocable."""

from datetime import timedelta

from flask import Flask
from sqlalchemy import select

from router.accounts.models import ApiToken
from router.accounts.sessions import require_token
from router.accounts.tokens import create_token, digest_of
from router.db import Database
from tests.people import NOW, Cast


def test_the_text_of_a_token_is_nowhere_in_the_database(database: Database, cast: Cast) -> None:
    with database.reading() as session:
        stored = session.scalars(select(ApiToken)).all()
    assert all(cast.alice_token not in str(vars(token)) for token in stored)
    assert cast.alice_token.startswith("rt_")
    assert {token.hint for token in stored} >= {cast.alice_token[-4:]}


def test_what_is_no_token_gets_401_and_the_way_to_ask(app: Flask, cast: Cast) -> None:
    for header in ("", "Bearer", "Bearer ", "Bearer rt_wrong", "Basic abc", "rt_wrong", "Bearer \x80"):
        with app.test_request_context("/api/v1/projects", headers={"Authorization": header}):
            answer = require_token()
        assert answer is not None, header
        assert (answer.status_code, answer.mimetype) == (401, "application/problem+json")
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="router"'


def test_a_revoked_token_is_none(app: Flask, database: Database, cast: Cast) -> None:
    with database.writing() as session:
        token, text = create_token(session, "old", NOW, cast.project.id, "owner")
        token.revoked_at = NOW
    with app.test_request_context("/", headers={"Authorization": f"Bearer {text}"}):
        answer = require_token()
    assert answer is not None
    assert answer.status_code == 401


def test_the_last_use_is_noted_once_a_minute(app: Flask, database: Database, cast: Cast) -> None:
    server = app.extensions["router"]
    noted = []
    for seconds in (0, 59, 60):
        server.now = lambda seconds=seconds: NOW + timedelta(seconds=seconds)
        with app.test_request_context("/sign-in", headers={"Authorization": f"Bearer {cast.operator_token}"}):
            assert require_token() is None
        with database.reading() as session:
            digest = digest_of(cast.operator_token)
            noted.append(session.scalar(select(ApiToken.last_used_at).where(ApiToken.digest == digest)))
    assert noted == [NOW, NOW, NOW + timedelta(seconds=60)]
