# SPDX-License-Identifier: Apache-2.0
"""Signatures of webhooks, as Standard Webhooks 1.0 writes them: HMAC-SHA256 over id, time and body.

Our own few lines rather than the package `standardwebhooks`, which signs with one secret at a time and
takes the hours of a time zone for UTC; the tests let that package verify what these lines sign.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets as randomness
from collections.abc import Sequence

PREFIX = "whsec_"
NEW_KEY_BYTES = 32
FEWEST_KEY_BYTES = 24
MOST_KEY_BYTES = 64

# The signed text joins its parts with dots, so an id with a dot could be read in two ways.
EVENT_ID = re.compile(r"[!-\-/-~]{1,256}")


class SecretMalformed(ValueError):
    """Raised for a text that is no signing secret; the message never repeats the text."""


def new_secret() -> str:
    """A fresh signing secret: `whsec_` and 32 random bytes in base64."""
    return PREFIX + base64.b64encode(randomness.token_bytes(NEW_KEY_BYTES)).decode("ascii")


def key_of(secret: str) -> bytes:
    """The key inside a secret; SecretMalformed unless it is `whsec_` and base64 of 24 to 64 bytes."""
    if not secret.startswith(PREFIX):
        raise SecretMalformed(f"a signing secret begins with {PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SecretMalformed(f"a signing secret is base64 after {PREFIX}") from error
    if not FEWEST_KEY_BYTES <= len(key) <= MOST_KEY_BYTES:
        raise SecretMalformed(f"a signing secret holds {FEWEST_KEY_BYTES} to {MOST_KEY_BYTES} bytes")
    return key


def sign(event_id: str, timestamp: int, body: bytes, secrets: Sequence[str]) -> str:
    """The value of `webhook-signature`: one `v1,` signature for each live secret, a blank between them.

    `timestamp` counts seconds since 1970 in UTC. ValueError when there is no secret or the id has a dot,
    a blank or a character outside ASCII; SecretMalformed for a bad secret.
    """
    if not secrets:
        raise ValueError("a webhook is signed with one secret or more")
    if not EVENT_ID.fullmatch(event_id):
        raise ValueError("an event's id is 1 to 256 visible ASCII characters without a dot")
    signed = b"%s.%d.%s" % (event_id.encode("ascii"), timestamp, body)
    return " ".join(_signature(key_of(secret), signed) for secret in secrets)


def headers(event_id: str, timestamp: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The three headers that every webhook carries; errors as in `sign`."""
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(event_id, timestamp, body, secrets),
    }


def _signature(key: bytes, signed: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode("ascii")
