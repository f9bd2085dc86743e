"""The visitor's cookie, set by the server where the site serves the tag from an address of its own: browsers keep such a one for longer
than a cookie of a script."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from flask import Response

from router.accounts.domains import is_same_site, registrable_domain
from router.attribution.origins import belongs, host_and_port
from router.attribution.tag_projects import TagProject

KEPT_FOR = timedelta(days=400)
"""The longest that browsers allow."""


def may_keep_cookie(body: Mapping[str, Any]) -> bool:
    """What the page posted is no test, and its visitor has not refused; anything unclear counts as refused."""
    return body.get("consent") in (None, "full") and not body.get("test")


def welcome_first_party(response: Response, project: TagProject | None, origin: str, visitor: str | None) -> None:
    """Pages of a project whose site serves the tag ask with credentials, or they could not be given a cookie. One that is one site with
    that address gets it.

    Args:
        visitor: whose cookie it gets; None: it gets none.
    """
    host = host_and_port(origin)
    if project is None or not project.tag_address or host is None or not belongs(project.site, *host):
        return
    response.headers["Access-Control-Allow-Credentials"] = "true"
    if visitor and _is_own(project, host[0]):
        _set_cookie(response, project, registrable_domain(host[0]), visitor)


def _is_own(project: TagProject, host: str) -> bool:
    own = host_and_port(project.tag_address)
    return own is not None and is_same_site(host, own[0])


def _set_cookie(response: Response, project: TagProject, domain: str | None, visitor: str) -> None:
    """Not HttpOnly: the tag reads it, and deletes it when consent is withdrawn. Without a domain it is the host's alone."""
    secure = urlsplit(project.tag_address).scheme == "https"
    name = f"router_visitor_{project.key}"
    response.set_cookie(name, visitor, max_age=KEPT_FOR, domain=domain, secure=secure, samesite="Lax")
