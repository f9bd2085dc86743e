"""Secrets at rest and signed values, both under ROUTER_SECRET_KEY (a comma list while it is being rotated: the first signs, all verify)."""

import base64
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.config import Settings, SettingsError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

LEAST_KEY_LENGTH = 16


class SealBroken(Exception):
    """A sealed value was not written under any of our keys."""


@dataclass(frozen=True)
class KeyRing:
    """The server's keys, newest first."""

    keys: tuple[str, ...]

    def derive(self, purpose: str) -> list[bytes]:
        """32 bytes for a purpose from each key, newest first."""
        person = hashlib.blake2b(purpose.encode(), digest_size=16).digest()
        return [hashlib.blake2b(key.encode(), digest_size=32, person=person).digest() for key in self.keys]

    @property
    def fingerprint(self) -> str:
        """Tells two keys apart and gives neither away."""
        return self.fingerprints[0]

    @property
    def fingerprints(self) -> list[str]:
        return [digest.hex()[:16] for digest in self.derive("fingerprint")]

    def seal(self, text: str) -> str:
        return self._fernet().encrypt(text.encode()).decode()

    def unseal(self, sealed: str) -> str:
        """
        Raises:
            SealBroken: it was sealed under another key, or changed since.
        """
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet().decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise SealBroken("a stored secret was sealed under another ROUTER_SECRET_KEY") from None

    def sealed_anew(self, sealed: str) -> str | None:
        """The same under the first key; None when it is so already, or when it was sealed under none of these."""
        try:
            text = self.unseal(sealed)
        except SealBroken:
            return None
        try:
            KeyRing(self.keys[:1]).unseal(sealed)
        except SealBroken:
            return self.seal(text)
        return None

    def sign(self, purpose: str, message: bytes, size: int = 12) -> bytes:
        return _mac(self.derive(purpose)[0], message, size)

    def verify(self, purpose: str, message: bytes, mac: bytes) -> bool:
        return any(hmac.compare_digest(_mac(key, message, len(mac)), mac) for key in self.derive(purpose)) and bool(mac)

    def macs(self, purpose: str, message: bytes, size: int) -> list[bytes]:
        """What `sign` gives under each key, newest first: for what was kept under one of them and has to be found."""
        return [_mac(key, message, size) for key in self.derive(purpose)]

    def _fernet(self) -> "MultiFernet":
        from cryptography.fernet import Fernet, MultiFernet  # a command that seals nothing does without

        return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in self.derive("seal")])


def _mac(key: bytes, message: bytes, size: int) -> bytes:
    return hashlib.blake2b(message, key=key, digest_size=max(1, min(size, 64))).digest()


def load_keys(settings: Settings) -> KeyRing:
    """The keys that were set; for the embedded database, made in the data folder at first use.

    Raises:
        SettingsError: PostgreSQL without a key, or a key too short to keep a secret.
    """
    keys = tuple(key.strip() for key in settings.secret_key.split(",") if key.strip())
    if not keys and not settings.embedded:
        raise SettingsError(
            "ROUTER_SECRET_KEY: is required with PostgreSQL, the same on every machine (openssl rand -hex 32)"
        )
    keys = keys or (kept_secret(settings, "secret.key"),)
    if any(len(key) < LEAST_KEY_LENGTH for key in keys):
        raise SettingsError(f"ROUTER_SECRET_KEY: needs at least {LEAST_KEY_LENGTH} characters (openssl rand -hex 32)")
    return KeyRing(keys)


def kept_secret(settings: Settings, name: str) -> str:
    """A random secret kept in a file of the data folder; two processes that make it at once agree on one."""
    path = settings.data_dir / name
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{name}.{os.getpid()}.{secrets.token_hex(4)}")
    if not path.exists():
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_hex(32))
        try:
            os.link(draft, path)  # fails when somebody was faster, and is never half written
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()
