# SPDX-License-Identifier: Apache-2.0
"""Sealing what must be readable again: AES-256-GCM under a key that is drawn from the operator's setting.

What is sealed says nowhere what it is; it is bound to its place, so that nobody who can write to the
database can move a secret from one endpoint to another. While a key is changed there are two: the present
one seals, and both open.
"""

import base64
import hashlib
import os
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from twinning.errors import WrongSetting

SETTING = "TWINNING_SECRETS_KEY"
KEY_BYTES = 32
NONCE_BYTES = 12


class Vault:
    """Seals under its key, and opens what that one or an older one has sealed.

    `key_id` names the key that seals; the id of a key tells it from others and nothing about it.
    """

    def __init__(self, key: str, *older: str) -> None:
        self.key_id = _id_of(key)
        self._ciphers = {
            _id_of(one): AESGCM(_draw(one, b"twinning: secrets at rest")) for one in (key, *older)
        }

    def knows(self, key_id: str) -> bool:
        """Say whether it opens what was sealed under a key."""
        return key_id in self._ciphers

    def seal(self, text: str, place: str) -> str:
        """Seal a text for a place: base64 of a fresh nonce, the sealed text and its tag."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + self._ciphers[self.key_id].encrypt(nonce, text.encode(), place.encode())
        return base64.b64encode(sealed).decode("ascii")

    def open(self, sealed: str, place: str, key_id: str) -> str:
        """Open what was sealed under this key for this place; raises `WrongSetting` where it was not."""
        if not self.knows(key_id):
            raise WrongSetting(
                f"{SETTING}: lacks the key with which something stored was sealed; name it in {SETTING}_OLD"
            )
        raw = base64.b64decode(sealed)
        try:
            text = self._ciphers[key_id].decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], place.encode())
        except InvalidTag:
            raise WrongSetting(f"{SETTING}: a stored secret was sealed otherwise, or was altered") from None
        return text.decode()


@lru_cache(maxsize=8)
def vault_of(key: str, older: str = "") -> Vault | None:
    """Give the vault of the settings, or None where there is no key and secrets are stored as they are."""
    if not key:
        return None
    return Vault(key, older) if older else Vault(key)


def _id_of(key: str) -> str:
    return hashlib.sha256(_draw(key, b"twinning: name of the key")).hexdigest()[:16]


def _draw(key: str, purpose: bytes) -> bytes:
    """Draw a key for one purpose from one of the setting's (HKDF, RFC 5869)."""
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose).derive(key.encode())
