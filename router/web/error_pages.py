"""Errors as people and programs see them: a page in the frame for browsers, application/problem+json for the rest."""

from flask import Flask, Response, current_app, g, render_template, request
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from router.db import schema_state
from router.server import current_server
from router.web.access import Audience, audience_of
from router.web.errors import TITLES, Problem
from router.web.layout import FORM_AUDIENCES

PROGRAM_PATHS = ("/api/", "/tag/", "/voice/")

ADVICE = {
    400: "The form was open for too long, or came from elsewhere. Go back, load the page again and repeat it.",
    404: "There is nothing here.",
    405: "This address does not take that.",
    413: "That is more than the 64 kB that may be sent at once.",
    500: "Something went wrong on our side. It has been written to the log.",
}


def init_error_pages(app: Flask) -> None:
    @app.errorhandler(Problem)
    def problem(error: Problem) -> Response:
        return answer_problem(error)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response | HTTPException:
        if error.code is None or error.code < 400:  # a redirect that routing asks for
            return error
        code = error.code or 500
        return answer_problem(Problem(code, ADVICE.get(code) or error.description or ""))

    @app.errorhandler(PoolTimeout)
    def no_connection(error: PoolTimeout) -> Response:
        current_app.logger.error("database: no connection became free in time")
        return answer_problem(Problem(503, "The database cannot be reached. Try again in a minute."))

    @app.errorhandler(DBAPIError)
    def database_error(error: DBAPIError) -> Response:
        refusal = _database_problem(error)
        if refusal is None:
            raise error
        current_app.logger.error("database: %s", type(error.orig).__name__)
        return answer_problem(refusal)


def answer_problem(error: Problem) -> Response:
    """A page or problem+json, by who asked."""
    audience = audience_of(request.blueprint)
    if audience is None or audience is Audience.PUBLIC:
        by_browser = not request.path.startswith(PROGRAM_PATHS)
    else:
        by_browser = audience in FORM_AUDIENCES
    if not by_browser:
        return error.response()
    title = TITLES.get(error.status, "Refused")
    return Response(render_template("error.html", title=title, detail=error.detail), error.status, mimetype="text/html")


def _database_problem(error: DBAPIError) -> Problem | None:
    """Why the database cannot answer; None when it could, so that the mistake is ours."""
    g.pop("project", None)
    try:
        state = schema_state(current_server().database)
    except SQLAlchemyError:
        return Problem(503, "The database cannot be reached. Try again in a minute.")
    if state != "current":
        return Problem(503, "The database has another version's schema. The operator has to run “router migrate”.")
    if isinstance(error, OperationalError):
        return Problem(503, "The database is too busy. Try again in a minute.")
    return None
