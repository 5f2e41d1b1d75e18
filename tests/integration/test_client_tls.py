# SPDX-License-Identifier: Apache-2.0
"""The client and certificates: always verified, for the name in the URL."""

import ssl
from pathlib import Path

import pytest
import trustme

from services.dispatcher.client import BoundedClient, Outcome
from services.dispatcher.network import tls_context
from tests.integration.hostile import (
    MANNERS,
    OK,
    greet,
    loopback,
    receiver,
)
from tests.integration.posting import GRACE_S, HEADERS, INSIDE, NAME, Names, in_loop, timed


class TestTLS:
    """Certificates: always verified, for the name in the URL."""

    @pytest.fixture(scope="class")
    @classmethod
    def authority(cls) -> trustme.CA:
        return trustme.CA()

    @staticmethod
    def context(certificate: trustme.LeafCert) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(made)
        return made

    async def outcome(self, authority: trustme.CA | None, server: ssl.SSLContext, tmp_path: Path) -> Outcome:
        """What a post to the name gives when `authority` is trusted."""
        there_at = loopback()
        cafile = None
        if authority is not None:
            cafile = str(tmp_path / "ca.pem")
            authority.cert_pem.write_to_path(cafile)
        async with (
            receiver(OK, host=there_at, port=8443, tls=server),
            BoundedClient(INSIDE, timeout_s=2, resolve=Names([there_at]), cafile=cafile) as client,
        ):
            return await client.post(f"https://{NAME}:8443/in", b"{}", HEADERS)

    @in_loop
    async def test_good(self, authority: trustme.CA, tmp_path: Path) -> None:
        """A certificate for the name by a trusted authority is taken, and only the name is sent as SNI."""
        server = self.context(authority.issue_cert(NAME))
        asked = []
        server.sni_callback = lambda _, name, __: asked.append(name)
        outcome = await self.outcome(authority, server, tmp_path)
        assert (outcome.status, outcome.error, outcome.answer) == (200, None, b"ok")
        assert asked == [NAME]

    @in_loop
    async def test_wrong_name(self, authority: trustme.CA, tmp_path: Path) -> None:
        """A certificate for another name is refused, and nothing was sent."""
        server = self.context(authority.issue_cert("other.example.org"))
        assert (await self.outcome(authority, server, tmp_path)).error == "tls_error"

    @in_loop
    async def test_unknown_authority(self, authority: trustme.CA, tmp_path: Path) -> None:
        """A certificate that nobody trusted has signed is refused."""
        assert (
            await self.outcome(None, self.context(authority.issue_cert(NAME)), tmp_path)
        ).error == "tls_error"

    @in_loop
    async def test_old_version(self, authority: trustme.CA, tmp_path: Path) -> None:
        """A server that speaks nothing newer than TLS 1.1 is refused."""
        server = self.context(authority.issue_cert(NAME))
        server.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            server.maximum_version = ssl.TLSVersion.TLSv1_1
        assert (await self.outcome(authority, server, tmp_path)).error == "tls_error"

    @in_loop
    async def test_plain_server(self) -> None:
        """A server that does not speak TLS on an https URL is a tls_error."""
        async with (
            receiver(greet) as there,
            BoundedClient(INSIDE, timeout_s=1) as client,
        ):
            url = there.url.replace("http:", "https:")
            assert (await client.post(url, b"{}", HEADERS)).error == "tls_error"

    @in_loop
    async def test_handshake_that_hangs(self) -> None:
        """A handshake that never ends is given up with the time for connecting."""
        async with (
            receiver(MANNERS["never reads"][0]) as there,
            BoundedClient(INSIDE, timeout_s=5, connect_s=0.2) as client,
        ):
            url = there.url.replace("http:", "https:")
            outcome, taken_s = await timed(client.post(url, b"{}", HEADERS))
        assert outcome.error == "connect_error"
        assert taken_s <= 0.2 + GRACE_S

    def test_one_context_a_process(self) -> None:
        """A context is dear, so clients share it; it verifies and refuses what is older than TLS 1.2."""
        context = tls_context()
        assert context is tls_context()
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
