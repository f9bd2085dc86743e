"""Signatures of messages to customers' systems, as Standard Webhooks 1.0 has them (https://www.standardwebhooks.com)."""

import base64
import binascii
import hashlib
import hmac

PREFIX = "whsec_"
LEAST_SECRET, LONGEST_SECRET = 24, 64


def sign(secret: str, message_id: str, timestamp: int, body: bytes, earlier_secret: str = "") -> dict[str, str]:
    """The three headers that let the receiver check who sent these bytes, and when. While a secret is being changed, both of them sign."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    keys = [secret_bytes(one) for one in (secret, earlier_secret) if one]
    digests = [base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{digest}" for digest in digests),
    }


def secret_bytes(secret: str) -> bytes:
    """
    Raises:
        ValueError: not `whsec_` and the base64 of 24 to 64 bytes.
    """
    if not secret.startswith(PREFIX):
        raise ValueError("does not begin with whsec_")
    try:
        decoded = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("is not base64") from None
    if not LEAST_SECRET <= len(decoded) <= LONGEST_SECRET:
        raise ValueError("has not 24 to 64 bytes")
    return decoded
