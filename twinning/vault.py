# SPDX-License-Identifier: Apache-2.0
"""Sealing what must be readable again: AES-256-GCM under a key that is drawn from the operator's setting.

What is sealed says nowhere what it is; it is bound to its place, so that nobody who can write to the
database can move a secret from one endpoint to another.
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
    """Seals and opens texts; `key_id` tells its key from others and nothing about it."""

    def __init__(self, setting: str) -> None:
        key = _draw(setting, b"twinning: secrets at rest")
        self.key_id = hashlib.sha256(_draw(setting, b"twinning: name of the key")).hexdigest()[:16]
        self._cipher = AESGCM(key)

    def seal(self, text: str, place: str) -> str:
        """Seal a text for a place: base64 of a fresh nonce, the sealed text and its tag."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, text.encode(), place.encode())
        return base64.b64encode(sealed).decode("ascii")

    def open(self, sealed: str, place: str) -> str:
        """Open what was sealed for this place; raises `WrongSetting` for what this key did not seal."""
        raw = base64.b64decode(sealed)
        try:
            text = self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], place.encode())
        except InvalidTag:
            raise WrongSetting(f"{SETTING}: a stored secret was sealed otherwise, or was altered") from None
        return text.decode()


@lru_cache(maxsize=8)
def vault_of(setting: str) -> Vault | None:
    """Give the vault of the setting, or None where it is empty and secrets are stored as they are."""
    return Vault(setting) if setting else None


def _draw(setting: str, purpose: bytes) -> bytes:
    """Draw a key for one purpose from the setting (HKDF, RFC 5869)."""
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose).derive(setting.encode())
