# SPDX-License-Identifier: Apache-2.0
"""Signatures of webhooks: our lines sign, other people's code verifies."""

import base64
import hashlib
import hmac
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from twinning.signing import SecretMalformed, headers, key_of, new_secret, sign

EVENT_ID = "0198f7d2-6d5e-7c1a-9b1f-2f4f6a3c1d11"
BODY = '{"type":"suggestion.created","data":{"name":"Łódź, 수원"}}'.encode()
# Keys of 24 and 32 bytes that count up from 0; the signatures were made once with `openssl dgst -hmac`.
SHORT = "whsec_" + base64.b64encode(bytes(range(24))).decode()
LONG = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def test_new_secret_holds_32_fresh_bytes() -> None:
    """A new secret is whsec_ with 32 random bytes, another one each time."""
    first, second = new_secret(), new_secret()
    assert first.startswith("whsec_")
    assert len(key_of(first)) == 32
    assert first != second


def test_every_live_secret_verifies_with_the_reference_library() -> None:
    """While secrets rotate, a receiver that holds any one of them can verify."""
    live = [new_secret() for _ in range(3)]
    sent = headers(EVENT_ID, int(time.time()), BODY, live)
    assert set(sent) == {"webhook-id", "webhook-timestamp", "webhook-signature"}
    assert sent["webhook-signature"].count("v1,") == 3
    for secret in live:
        assert Webhook(secret).verify(BODY, sent)["type"] == "suggestion.created"
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(new_secret()).verify(BODY, sent)


@pytest.mark.parametrize("part", ["webhook-id", "webhook-timestamp"])
def test_a_changed_header_does_not_verify(part: str) -> None:
    """The signature covers the id and the time besides the body."""
    secret = new_secret()
    now = int(time.time())
    sent = headers(EVENT_ID, now, BODY, [secret]) | {part: str(now + 1)}
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(secret).verify(BODY, sent)


@pytest.mark.parametrize(
    ("secret", "body", "signature"),
    [
        (SHORT, b"{}", "v1,OUtxUP5Xag/cdUG+rmAccLg9gRl8qpDVlxjxydxDv0Y="),
        (LONG, b"", "v1,AvGPqE0CTogrWUUfPBN4L+nlNzDkwfIG5llUmNsvsXc="),
    ],
)
def test_vectors(secret: str, body: bytes, signature: str) -> None:
    """Known key, id, time and body give a known signature."""
    assert sign("evt_1", 1_700_000_000, body, [secret]) == signature


def test_signatures_stand_in_the_order_of_the_secrets() -> None:
    """One signature for each secret, a blank between them."""
    one, two = (sign(EVENT_ID, 7, BODY, [secret]) for secret in (SHORT, LONG))
    assert sign(EVENT_ID, 7, BODY, [SHORT, LONG]) == f"{one} {two}"


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        SHORT.removeprefix("whsec_"),
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "whsec_not base64 at all, not at all!!",
        LONG + "\n",
        LONG.rstrip("="),
        "whsec_" + "é" * 44,
    ],
)
def test_a_malformed_secret_is_refused(secret: str) -> None:
    """A secret without prefix, not in base64, under 24 or over 64 bytes is refused and never repeated."""
    with pytest.raises(SecretMalformed) as refused:
        sign(EVENT_ID, 7, BODY, [LONG, secret])
    assert len(secret) < 8 or secret not in str(refused.value)


@pytest.mark.parametrize("size", [24, 32, 64])
def test_a_secret_of_the_allowed_sizes_is_taken(size: int) -> None:
    """24 to 64 bytes are the limits of Standard Webhooks."""
    assert key_of("whsec_" + base64.b64encode(bytes(size)).decode()) == bytes(size)


@pytest.mark.parametrize("event_id", ["", "a.b", "a b", "a\r\nb", "ä", "a" * 257])
def test_an_id_that_could_be_read_in_two_ways_is_refused(event_id: str) -> None:
    """Dots join the signed parts and line ends close a header, so no id holds either."""
    with pytest.raises(ValueError, match="visible ASCII"):
        sign(event_id, 7, BODY, [LONG])


def test_signing_without_a_secret_is_refused() -> None:
    """An unsigned webhook never leaves."""
    with pytest.raises(ValueError, match="one secret or more"):
        sign(EVENT_ID, 7, BODY, [])


@given(body=st.binary(max_size=200), key=st.binary(min_size=24, max_size=64), timestamp=st.integers(0, 2**40))
def test_any_bytes_are_signed_as_they_are(body: bytes, key: bytes, timestamp: int) -> None:
    """The body is signed byte for byte, text or not."""
    secret = "whsec_" + base64.b64encode(key).decode()
    expected = hmac.new(key, f"{EVENT_ID}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    assert sign(EVENT_ID, timestamp, body, [secret]) == "v1," + base64.b64encode(expected).decode()
