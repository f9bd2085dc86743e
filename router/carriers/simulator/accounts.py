"""The simulated carrier as a whole: the server's account, and those that projects have of their own."""

import base64
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from router.carriers.simulator.account import Account
from router.carriers.simulator.exchange import Reply
from router.carriers.simulator.rest import Answer, Rest
from router.carriers.simulator.standing import everyday_standing

SID = re.compile(r"AC[0-9a-fA-F]{32}")


class Accounts:
    """All accounts in the file at `path`. `sid` and `token` are the server's; any other account is opened by whoever signs in to it.

    Nobody ever gave such an account a token. So the one that is used last is right, and signs its calls; it is remembered by this process
    alone, and stands in no file.
    """

    def __init__(self, path: Path, sid: str, token: str) -> None:
        self.redirect: Callable[[str, str], bool] = lambda sid, url: False
        """Makes a call go on at an address, as `Simulator.redirect` does."""
        self.servers = self._rest(Account(path), sid, token)
        self._path, self._sid = path, sid
        self._others: dict[str, tuple[str, Rest]] = {}
        self._lock = threading.Lock()

    def reply(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """A mount of the simulated exchange."""
        return self.answer(method, target, headers, body).reply()

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        sid, token = signed_in(headers)
        if sid == self._sid or not SID.fullmatch(sid) or not token:
            return self.servers.answer(method, target, headers, body)
        with self._lock:
            known, rest = self._others.get(sid, ("", self.servers))
            if known != token:
                rest = self._rest(Account(self._path, sid), sid, token)
                self._others[sid] = token, rest
        return rest.answer(method, target, headers, body)

    def _rest(self, account: Account, sid: str, token: str) -> Rest:
        return Rest(
            account, sid, token, standing=everyday_standing(), redirect=lambda call, url: self.redirect(call, url)
        )

    def signer(self, e164: str) -> tuple[str, str] | None:
        """SID and token of the account at which a number is rented; None: the server's, or one that has not signed in yet."""
        sid = self.servers.account.account_of(e164)
        with self._lock:
            found = self._others.get(sid)
        return (sid, found[0]) if found else None


def signed_in(headers: Mapping[str, str]) -> tuple[str, str]:
    """User and password of a Basic authorization; empty: there is none."""
    kind, _, encoded = headers.get("Authorization", "").partition(" ")
    try:
        user, _, password = base64.b64decode(encoded if kind == "Basic" else "", validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return user, password
