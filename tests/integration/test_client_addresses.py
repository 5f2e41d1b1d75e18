# SPDX-License-Identifier: Apache-2.0
"""Where the client posts to: names that change their address, URLs that hide one, proxies, redirects."""

import socket
import threading

import pytest

from services.dispatcher.client import BoundedClient
from tests.integration.hostile import (
    OK,
    answering,
    head,
    loopback,
    receiver,
)
from tests.integration.posting import GRACE_S, HEADERS, INSIDE, NAME, TIMEOUT_S, Names, in_loop, timed
from twinning.addresses import AddressRefused, Rules


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
