"""Referrers that are no marketing: hosts from which people come back in the middle of a visit, since they paid, signed in, proved to their
bank who they are, or confirmed their address in a letter. The hosts stand in unwanted_referrals.txt; what such hosts are usually called,
and what their paths say, is known here."""

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

from router.web.network import registrable_domain

Kind = Literal["never", "within a visit"]
"""`never`: no source at all, as if the visitor had come from the site itself. `within a visit`: a source when a visit begins, and no news
while one goes on."""

FILE = Path(__file__).with_suffix(".txt")

CHALLENGES = re.compile(
    r"(?:^|[.-])(?:3ds?-?secure\w*|threeds\w*|(?:mastercard)?securecode|verified-?by-?visa)(?=[.-])"
)
"""Names of 3-D Secure pages: `3dsecure.bank.example`, `german-3dsecure.bank.example`, `3d-secure-code.example`."""

USUAL_NAMES = frozenset(
    (
        *("login", "signin", "sso", "auth", "oauth", "oauth2", "idp", "account", "accounts", "passport"),
        *("checkout", "pay", "payment", "payments", "paiement", "epay", "securepay", "vpos", "ideal"),
        *("mail", "webmail", "owa", "roundcube", "zimbra"),
    )
)
"""What hosts for signing in, paying and mail are called, below the domain that they belong to."""

ACS = re.compile(r"(?:acs|3ds)\d*")
"""A 3-D Secure server of a bank (access control server); Nintendo's 3DS lives at such a name too."""

USUAL_PATHS = re.compile(
    r"/(?:oauth2?|openid|saml2?|sso|login|log-in|signin|sign-in|sign_in|authorize|checkout|payments?|pay)(?=[/?.;]|$)",
    re.I,
)
"""Most referrers are cut down to their host; where one is not, its path tells the same."""


@cache
def _listed() -> Mapping[str, tuple[Kind, str]]:
    """Host to its kind and to what the line covers: `*` what is below it, `=` itself, empty both."""
    kinds: dict[str, tuple[Kind, str]] = {}
    kind: Kind = "never"
    for line in FILE.read_text("utf-8").splitlines():
        if line == "[within a visit]":
            kind = "within a visit"
        elif line and line[0] not in "#[":
            mark = line[0] if line[0] in "*=" else ""
            kinds[line.lstrip("*.=")] = kind, mark
    return kinds


@lru_cache(maxsize=8192)
def unwanted(host: str) -> Kind | None:
    """What kind of unwanted referral a host is; None for every other one.

    Args:
        host: case-folded, without a port.
    """
    if CHALLENGES.search(host):
        return "never"
    labels = host.split(".")
    for start in range(len(labels) - 1):
        kind, mark = _listed().get(".".join(labels[start:]), (None, ""))
        if kind and mark != ("*" if start == 0 else "="):
            return kind
    usual = [place for place, label in enumerate(labels) if label in USUAL_NAMES or ACS.fullmatch(label)]
    domain = registrable_domain(host) if usual else None
    return "within a visit" if domain and usual[0] < len(labels) - domain.count(".") - 1 else None


def is_on_the_way(referrer: str) -> bool:
    """Whether the path of a referrer is one where people sign in or pay."""
    _, _, behind = re.split("[?#]", referrer, maxsplit=1)[0].partition("://")
    _, slash, path = behind.partition("/")
    return USUAL_PATHS.search(slash + path) is not None
