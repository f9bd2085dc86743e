"""Buttons in rows that act at once: with JavaScript the answer is a sentence, without it the page that they stood on."""

from collections.abc import Callable

from flask import flash, jsonify, redirect, request
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from router.accounts.choices import local_path
from router.server import current_server
from router.web import Problem


def act_at_once(do: Callable[[Session], str], otherwise: str) -> Response:
    """Does it in one transaction and says what `do` says, or why it was refused.

    Programs of ours ask for JSON and get `{said}` or a problem; a form is led back to its field `back`, else to `otherwise`;
    a refusal with a `review` page leads there.

    Raises:
        Problem: what was to be changed is not there, for a form.
    """
    by_script = request.accept_mimetypes.best == "application/json"
    try:
        with current_server().database.writing() as session:
            said = do(session)
    except Problem as refusal:
        if by_script:
            return refusal.response()
        if refusal.status == 404:
            raise
        flash(refusal.detail, "bad")
        if review := refusal.more.get("review"):
            return redirect(str(review))
    else:
        if by_script:
            return jsonify(said=said)
        flash(said)
    return redirect(local_path(request.form.get("back")) or otherwise)
