# SPDX-License-Identifier: Apache-2.0
"""The client against receivers that misbehave, names that change their address, and certificates that lie."""

import asyncio
import functools
import resource
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, get_args

import pytest
import trustme
import uvloop

from services.dispatcher.client import CLASSES, REFUSED, BoundedClient, ErrorClass, Outcome
from services.dispatcher.network import tls_context
from tests.integration.hostile import (
    BOMB,
    MANNERS,
    OK,
    Manner,
    answering,
    greet,
    hang,
    head,
    loopback,
    receiver,
)
from twinning.addresses import AddressRefused, Rules

INSIDE = Rules.parse(["127.0.0.0/8"], allow_http=True)
HEADERS = {"webhook-id": "evt", "webhook-timestamp": "1", "webhook-signature": "v1,x"}
TIMEOUT_S = 0.8
# What an attempt may take beyond its deadline on a busy machine.
GRACE_S = 0.5
NAME = "hooks.example.org"


def in_loop(story: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test that is a coroutine in a loop of its own."""

    @functools.wraps(story)
    def test(*args: Any, **kwargs: Any) -> None:
        asyncio.run(story(*args, **kwargs))

    return test


class Names:
    """A resolver that gives prepared answers, one list a look-up, and counts how often it is asked."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.lookups = 0

    async def __call__(self, *_: object) -> list[str]:
        self.lookups += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def peak_mb() -> float:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def timed(attempt: Awaitable[Outcome]) -> tuple[Outcome, float]:
    began = time.perf_counter()
    return await attempt, time.perf_counter() - began


@pytest.mark.parametrize("name", MANNERS)
@in_loop
async def test_hostile_receiver(name: str) -> None:
    """Each misbehaviour ends in time, takes little memory, and leaves a status, a class and the peer."""
    manner, status, error = MANNERS[name]
    async with BoundedClient(INSIDE, timeout_s=TIMEOUT_S) as client, receiver(manner) as there:
        before = peak_mb()
        body = bytes(900_000) if name == "never reads" else b"{}"
        outcome, taken_s = await timed(client.post(there.url, body, HEADERS))
        assert (outcome.status, outcome.error) == (status, error)
        assert outcome.address == "127.0.0.1"
        assert len(outcome.answer) <= 2048
        assert taken_s <= TIMEOUT_S + GRACE_S
        assert abs(outcome.duration_ms - taken_s * 1000) < 50
        assert peak_mb() - before < 20


def test_all_hostile_receivers_at_once() -> None:
    """Under the loop that workers use, misbehaving receivers hold up neither one another nor a good one."""

    async def one(client: BoundedClient, manner: Manner) -> tuple[Outcome, float]:
        async with receiver(manner) as there:
            return await timed(client.post(there.url, b"{}", HEADERS))

    async def story() -> None:
        async with BoundedClient(INSIDE, timeout_s=TIMEOUT_S) as client:
            calm = [row for name, row in MANNERS.items() if "flood" not in name and "never" not in name]
            results = await asyncio.gather(*(one(client, manner) for manner, _, _ in calm), one(client, OK))
        assert [(outcome.status, outcome.error) for outcome, _ in results] == [
            *((status, error) for _, status, error in calm),
            (200, None),
        ]
        assert max(taken_s for _, taken_s in results) <= TIMEOUT_S + GRACE_S

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story())


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
@pytest.mark.parametrize("name", ["never reads", "never ends its body", "drips its body", "hangs"])
@in_loop
async def test_no_socket_stays_open(name: str) -> None:
    """A connection that was given up is cut at once, even when the peer reads nothing or sends for ever."""
    async with BoundedClient(INSIDE, timeout_s=0.3) as client, receiver(MANNERS[name][0]) as there:
        before = open_files()
        # More than the kernel buffers, so that some of it still waits to be sent.
        await client.post(there.url, bytes(16_000_000), HEADERS)
        # The loop closes what was cut in its next rounds; the receiver may still hold its own end.
        for _ in range(5):
            await asyncio.sleep(0)
        assert open_files() <= before + 1


@in_loop
async def test_a_bomb_is_kept_as_it_came() -> None:
    """Nothing is decompressed: the log holds the first bytes as they were sent."""
    bomb, _, _ = MANNERS["sends a gzip bomb"]
    async with BoundedClient(INSIDE, timeout_s=TIMEOUT_S) as client, receiver(bomb) as there:
        outcome = await client.post(there.url, b"{}", HEADERS)
    assert outcome.answer == BOMB[:2048]


@in_loop
async def test_mixed_answers_reach_nobody() -> None:
    """A name with one forbidden answer is refused whole: no connection is made to the good one either."""
    good = loopback()
    rules = Rules.parse([f"{good}/32"], allow_http=True)
    async with receiver(OK, host=good, port=8443) as there, receiver(OK, port=0) as here:
        for answers in ([good, "127.0.0.1"], ["127.0.0.1", good], ["127.0.0.1"], [good, "169.254.169.254"]):
            names = Names(answers)
            async with BoundedClient(rules, timeout_s=TIMEOUT_S, resolve=names) as client:
                outcome = await client.post(f"http://{NAME}:8443/in", b"{}", HEADERS)
            assert (outcome.error, outcome.status, outcome.address) == ("address_not_public", None, None)
            assert names.lookups == 1
        assert there.accepts == here.accepts == 0


@in_loop
async def test_rebinding_meets_one_lookup_an_attempt() -> None:
    """What a name answers a second time plays no part in the first attempt and is vetted in the next."""
    good = loopback()
    closing = answering(head("200 OK", "Content-Length: 2", "Connection: close") + b"ok")
    names = Names([good], ["127.0.0.1"])
    rules = Rules.parse([f"{good}/32"], allow_http=True)
    async with receiver(closing, host=good, port=8443) as there:
        async with BoundedClient(rules, timeout_s=TIMEOUT_S, resolve=names) as client:
            first = await client.post(f"http://{NAME}:8443/in", b"{}", HEADERS)
            assert (first.status, first.error, first.address, names.lookups) == (200, None, good, 1)
            second = await client.post(f"http://{NAME}:8443/in", b"{}", HEADERS)
            assert (second.error, second.address, names.lookups) == ("address_not_public", None, 2)
        assert there.accepts == 1


@in_loop
async def test_a_connection_is_kept_but_not_beyond_its_policy() -> None:
    """Posts in a row share a connection, but none that could outlive the 60 s of its vetting."""
    there_at = loopback()
    for timeout_s, connections in ((TIMEOUT_S, 1), (60.0, 3)):
        names = Names([there_at])
        async with receiver(OK, host=there_at, port=8443) as there:
            async with BoundedClient(INSIDE, timeout_s=timeout_s, resolve=names) as client:
                for _ in range(3):
                    outcome = await client.post(f"http://{NAME}:8443/in", b"{}", HEADERS)
                    assert (outcome.status, outcome.address, outcome.answer) == (200, there_at, b"ok")
            assert (there.accepts, names.lookups) == (connections, connections)


@in_loop
async def test_posts_under_way_survive_a_change_of_session() -> None:
    """A session that became too old is closed by its last post and not under it."""
    async with (
        receiver(OK) as there,
        BoundedClient(INSIDE, timeout_s=60.0) as client,
    ):
        outcomes = await asyncio.gather(*(client.post(there.url, b"{}", HEADERS) for _ in range(20)))
    assert {(outcome.status, outcome.error) for outcome in outcomes} == {(200, None)}


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://127.0.0.1:{port}/in", "url_not_allowed"),
        ("http://127.1:{port}/in", "url_not_allowed"),
        ("http://2130706433:{port}/in", "url_not_allowed"),
        ("http://[::ffff:127.0.0.1]:{port}/in", "url_not_allowed"),
        ("http://localhost:{port}/in", "url_not_allowed"),
        ("https://127.0.0.1:{port}/in", "url_not_allowed"),
        ("http://h@127.0.0.1:{port}/in", "url_not_allowed"),
        ("http://hooks.example.org:{port}/in", "url_not_allowed"),
        ("http://127.0.0.1.nip.example.org/in", "address_not_public"),
        ("nonsense", "url_not_allowed"),
    ],
)
@in_loop
async def test_url_is_checked_again_at_each_post(url: str, error: str) -> None:
    """A URL that slipped into the database reaches nobody, however it spells the address."""
    rules = Rules.parse(["127.99.0.0/16"], allow_http=True)
    async with receiver(OK) as there:
        async with BoundedClient(rules, timeout_s=TIMEOUT_S, resolve=Names(["127.0.0.1"])) as client:
            outcome = await client.post(url.format(port=there.port), b"{}", HEADERS)
        assert (outcome.error, there.accepts) == (error, 0)


def test_the_last_door_stands_without_the_others() -> None:
    """Even if URL and look-up let it through, no socket is made for a forbidden address."""
    client = BoundedClient(Rules())
    info = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("169.254.169.254", 80))
    with pytest.raises(AddressRefused, match="address-not-public"):
        client._socket(info)


@in_loop
async def test_redirects_lead_nowhere() -> None:
    """No redirect is followed, not even to a receiver that would be allowed."""
    async with BoundedClient(INSIDE, timeout_s=TIMEOUT_S) as client, receiver(OK) as target:
        for status in (301, 302, 303, 307, 308):
            moved = answering(head(f"{status} Moved", f"Location: {target.url}", "Content-Length: 0"))
            async with receiver(moved) as there:
                outcome = await client.post(there.url, b"{}", HEADERS)
            assert (outcome.status, outcome.error) == (status, "redirect_refused")
        assert target.accepts == 0


@in_loop
async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment would resolve names beyond our rules, so it is not asked."""
    async with receiver(OK) as proxy, receiver(OK) as there:
        for variable in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
        async with BoundedClient(INSIDE, timeout_s=TIMEOUT_S) as client:
            outcome = await client.post(there.url, b"{}", HEADERS)
        assert (outcome.status, there.accepts, proxy.accepts) == (200, 1, 0)


@in_loop
async def test_what_is_sent() -> None:
    """The body goes out byte for byte, under the host's name, with our headers and without a cookie."""
    there_at = loopback()
    cookie = answering(head("200 OK", "Set-Cookie: a=b; Path=/", "Content-Length: 0"))
    body = '{"name":"Łódź"}\r\n\x00'.encode()
    async with receiver(cookie, host=there_at, port=8443) as there:
        async with BoundedClient(INSIDE, timeout_s=TIMEOUT_S, resolve=Names([there_at])) as client:
            for _ in range(2):
                await client.post("http://Hooks.Example.org.:8443/%0d%0aX:1?q=ü", body, HEADERS)
        lines, sent = there.requests[1].split(b"\r\n\r\n", 1)
    assert sent == body
    first, *headers = lines.decode("ascii").split("\r\n")
    assert first == "POST /%0d%0aX:1?q=%C3%BC HTTP/1.1"
    assert sorted(line.lower() for line in headers) == [
        "accept-encoding: identity",
        "accept: */*",
        f"content-length: {len(body)}",
        "content-type: application/json",
        "host: hooks.example.org:8443",
        "user-agent: asem-twinning-webhooks/1",
        "webhook-id: evt",
        "webhook-signature: v1,x",
        "webhook-timestamp: 1",
    ]


@pytest.mark.parametrize(
    "header",
    [{"Host": "internal"}, {"transfer-encoding": "chunked"}, {"X": "a\r\nY: b"}, {"X\r\nY": "b"}],
)
@in_loop
async def test_headers_that_would_change_the_request(header: dict[str, str]) -> None:
    """An endpoint's own headers can neither replace the client's nor smuggle further lines."""
    async with receiver(OK) as there, BoundedClient(INSIDE, timeout_s=TIMEOUT_S) as client:
        outcome = await client.post(there.url, b"{}", HEADERS | header)
        assert outcome.error == "request_invalid"
        assert there.requests == []


@in_loop
async def test_retry_after_is_noted() -> None:
    """The wait that a receiver asks for with 429 or 503, and with nothing else, is in the outcome."""
    async with BoundedClient(INSIDE, timeout_s=TIMEOUT_S) as client:
        for status, asked, noted in ((429, "7", 7.0), (503, "7", 7.0), (503, "soon", None), (500, "7", None)):
            busy = answering(head(f"{status} Busy", f"Retry-After: {asked}", "Content-Length: 0"))
            async with receiver(busy) as there:
                assert (await client.post(there.url, b"{}", HEADERS)).retry_after_s == noted


@in_loop
async def test_nobody_listens() -> None:
    """A refused connection and addresses beyond the fourth are a connect_error."""
    fifth = loopback()
    names = Names(["127.255.1.1", "127.255.1.2", "127.255.1.3", "127.255.1.4", fifth])
    async with receiver(OK, host=fifth, port=8443) as there:
        async with BoundedClient(INSIDE, timeout_s=TIMEOUT_S, resolve=names) as client:
            outcome = await client.post(f"http://{NAME}:8443/in", b"{}", HEADERS)
        assert (outcome.status, outcome.error, there.accepts) == (None, "connect_error", 0)


@in_loop
async def test_a_second_address_is_tried() -> None:
    """When the first vetted address does not answer, the next one of the same look-up is called."""
    second = loopback()
    names = Names(["127.255.1.1", second])
    async with (
        receiver(OK, host=second, port=8443),
        BoundedClient(INSIDE, timeout_s=TIMEOUT_S, resolve=names) as client,
    ):
        outcome = await client.post(f"http://{NAME}:8443/in", b"{}", HEADERS)
    assert (outcome.status, outcome.address, names.lookups) == (200, second, 1)


@in_loop
async def test_names_that_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that the system cannot resolve is a dns_error; a look-up that hangs ends at the deadline."""
    released = threading.Event()

    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    def stick(*_: object, **__: object) -> None:
        released.wait(10)

    async with BoundedClient(INSIDE, timeout_s=0.3) as client:
        monkeypatch.setattr(socket, "getaddrinfo", fail)
        unknown = await client.post(f"https://{NAME}/", b"{}", HEADERS)
        monkeypatch.setattr(socket, "getaddrinfo", stick)
        stuck, taken_s = await timed(client.post(f"https://{NAME}/", b"{}", HEADERS))
    released.set()
    assert (unknown.error, stuck.error) == ("dns_error", "timeout")
    assert taken_s <= 0.3 + GRACE_S


@in_loop
async def test_the_systems_resolver_is_vetted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a resolver given, the system is asked once and its answers are vetted alike."""
    asked = []

    def answer(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append((host, port))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    async with BoundedClient(INSIDE, timeout_s=TIMEOUT_S) as client:
        outcome = await client.post(f"https://{NAME}/", b"{}", HEADERS)
    assert (outcome.error, asked) == ("address_not_public", [(NAME, 443)])


@in_loop
async def test_a_full_pool_waits_inside_the_deadline() -> None:
    """A post that finds every connection taken gives up with its own deadline."""
    async with receiver(hang) as there, BoundedClient(INSIDE, timeout_s=TIMEOUT_S, limit=1) as client:
        results = await asyncio.gather(*(timed(client.post(there.url, b"{}", HEADERS)) for _ in range(3)))
    assert {outcome.error for outcome, _ in results} == {"timeout"}
    assert max(taken_s for _, taken_s in results) <= TIMEOUT_S + GRACE_S


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


def test_classes_are_the_stated_set() -> None:
    """Nothing but the stated error classes is ever recorded."""
    stated = set(get_args(ErrorClass))
    assert {name for _, name in CLASSES} | set(REFUSED.values()) < stated
    assert {error for _, _, error in MANNERS.values()} - {None} <= stated
