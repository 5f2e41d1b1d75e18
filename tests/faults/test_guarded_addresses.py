# SPDX-License-Identifier: Apache-2.0
"""Where webhooks may not go: a house as it is shipped calls nobody there."""

import json
import selectors
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests import hooks
from tests.faults.checking import Tell, check, read_log
from tests.faults.house import House, house
from tests.faults.parts import eventually
from tests.faults.settling import wait_until_delivered
from twinning.endpoints import Attempt, WebhookEndpoint

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(120)]

CASES: dict[str, list[dict[str, Any]]] = json.loads(
    Path(__file__).parents[2].joinpath("docs/examples/address_cases.json").read_text("utf-8")
)
PORT = 8443
# An address of this machine that stands for a public one: a network that the operator has opened.
PUBLIC, OPENED = "127.77.0.1", "127.77.0.0/16"
# These exist here, so that whoever calls them is counted.
INSIDE = ("127.0.0.1", "127.0.0.53", "::1")
REFUSED = {row["id"]: row["address"] for row in CASES["addresses"] if not row["allowed"]}
LOOKUPS = {
    "rebinding.example.org": [[PUBLIC], ["127.0.0.1"]],
    "mixed.example.org": [[PUBLIC, "127.0.0.1"]],
    "mixed-the-other-way.example.org": [["127.0.0.1", PUBLIC]],
    "redirecting.example.org": [[PUBLIC]],
    "absent.example.org": [[]],
}


class Watch:
    """Listens where nobody may call, and counts who does."""

    def __init__(self, stack: ExitStack) -> None:
        self.calls = 0
        self._selector = stack.enter_context(selectors.DefaultSelector())
        for address in INSIDE:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            listening = stack.enter_context(socket.create_server((address, PORT), family=family))
            self._selector.register(listening, selectors.EVENT_READ)
        self._end, ours = socket.socketpair()
        stack.enter_context(ours)
        self._selector.register(ours, selectors.EVENT_READ, "the end")
        self._thread = threading.Thread(target=self._count, daemon=True)
        self._thread.start()
        stack.callback(self._stop)

    def _count(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data:
                    return
                listening = key.fileobj
                assert isinstance(listening, socket.socket)
                listening.accept()[0].close()
                self.calls += 1

    def _stop(self) -> None:
        self._end.close()
        self._thread.join()


class _Answer(BaseHTTPRequestHandler):
    """Says yes once for each connection, or points inside."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        inside = self.headers["Host"].startswith("redirecting")
        self.send_response(302 if inside else 200)
        if inside:
            self.send_header("Location", f"https://127.0.0.1:{PORT}/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def good_receiver(folder: Path) -> Iterator[Path]:
    """Serve https on the address that stands for a public one; gives the authority to trust."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*LOOKUPS).configure_cert(context)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    with ThreadingHTTPServer((PUBLIC, PORT), _Answer) as server:
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield folder / "ca.pem"
        finally:
            server.shutdown()


def test_nobody_inside_is_called(database_url: str, short_folder: Path, tell: Tell) -> None:
    """No URL, address, rebinding name, redirect or proxy makes the house call a forbidden address."""
    names = {f"{id_.lower()}.cases.example.org": [[address]] for id_, address in REFUSED.items()}
    table, seen = short_folder / "names.json", short_folder / "seen"
    table.write_text(json.dumps({**names, **LOOKUPS}), "utf-8")
    seen.touch()
    with ExitStack() as stack:
        watch = Watch(stack)
        authority = stack.enter_context(good_receiver(short_folder))
        one = stack.enter_context(
            house(
                short_folder,
                database_url,
                WEBHOOK_ALLOW_CIDRS=OPENED,
                WEBHOOK_ALLOW_HTTP="",
                RETRY_SCHEDULE_S="0",
            )
        )
        one.dispatcher.change("looks_up_in_a_table", names=table, seen=seen, ssl_cert_file=authority)
        proxy = f"http://127.0.0.1:{PORT}"
        proxies = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy"), proxy)
        one.dispatcher.env = {**one.dispatcher.env, **proxies}
        one.start(one.broker, one.api, one.dispatcher)
        _assert_front_door_refuses(one)

        rows = {name: _endpoint(one, name) for name in [*names, *LOOKUPS]}
        slipped = {
            row["id"]: hooks.subscribe(one.database, row["url"], event_types=["need.withdrawn"])
            for row in CASES["urls"]
            if "refused" in row and _storable(row["url"])
        }
        called = {"rebinding.example.org", "redirecting.example.org"}
        never = [row for name, row in rows.items() if name not in called]
        hooks.ping(one.database, [*never, *slipped.values()])
        wait_until_delivered(one)
        # Not even a socket was made that could leave the machine.
        assert Counter(seen.read_text().splitlines())["socket"] == 0
        hooks.ping(one.database, [rows[name] for name in called])
        wait_until_delivered(one)
        assert Counter(seen.read_text().splitlines())["socket"] > 0
        first = {name: _attempts(one, row) for name, row in rows.items()}
        for name in names:
            assert [(a.error, a.address) for a in first[name]] == [("address_not_public", None)], name
        for row in slipped.values():
            [attempt] = _attempts(one, row)
            assert attempt.error in {"url_not_allowed", "address_not_public", "dns_error"}, row.url
            assert (attempt.status, attempt.address) == (None, None)
        expected = {
            "rebinding.example.org": (200, None, PUBLIC),
            "mixed.example.org": (None, "address_not_public", None),
            "mixed-the-other-way.example.org": (None, "address_not_public", None),
            "redirecting.example.org": (302, "redirect_refused", PUBLIC),
            "absent.example.org": (None, "dns_error", None),
        }
        assert {name: (a.status, a.error, a.address) for name in LOOKUPS for a in first[name]} == expected

        # The connection of the first attempt is dropped by now, so this one looks up again.
        hooks.ping(one.database, [rows["rebinding.example.org"]])
        wait_until_delivered(one)
        again = _attempts(one, rows["rebinding.example.org"])
        assert [(a.status, a.error) for a in again] == [(200, None), (None, "address_not_public")]
        lines = Counter(seen.read_text().splitlines())
        looked_up = {name: lines[f"lookup {name}"] for name in rows}
        assert looked_up == {**dict.fromkeys(rows, 1), "rebinding.example.org": 2}
        verdict = check(one)
        tell(None, f"{watch.calls} calls inside by {len(rows)} names and {len(CASES['urls'])} URLs")
        assert watch.calls == 0
        assert verdict.flaws == {}
        _assert_the_watch_sees(watch)


def _assert_front_door_refuses(one: House) -> None:
    """At creation and at a change each URL of the table is taken, or refused with its code."""
    mine = one.make("/webhook-endpoints", {"url": "https://changing.example.org/"})
    for row in CASES["urls"]:
        body = {"url": row["url"]}
        for answer in (
            one.client.post("/v1/webhook-endpoints", content=json.dumps(body), headers=JSON),
            one.client.patch(f"/v1/webhook-endpoints/{mine['id']}", content=json.dumps(body), headers=JSON),
        ):
            if "refused" in row:
                assert answer.status_code in {400, 422}, row
            else:
                # What is spelled another way may be the same, and no two may be the same.
                assert answer.status_code in {200, 201, 409}, row
            if answer.status_code == 201:
                one.client.delete(f"/v1/webhook-endpoints/{answer.json()['id']}").raise_for_status()


JSON = {"Content-Type": "application/json"}


def _endpoint(one: House, name: str) -> WebhookEndpoint:
    return hooks.subscribe(one.database, f"https://{name}:{PORT}/in", event_types=["need.withdrawn"])


def _attempts(one: House, row: WebhookEndpoint) -> list[Attempt]:
    """Give an endpoint's attempts in the order of its events."""
    kept = {key: value for key, value in read_log(one).items() if key[0] == row.id}
    return [attempt for _, value in sorted(kept.items()) for attempt in value.log]


def _storable(url: object) -> bool:
    """Say whether a database could hold it at all."""
    if not isinstance(url, str) or "\0" in url or len(url) > 4096:
        return False
    with suppress(UnicodeEncodeError):
        return bool(url.encode())
    return False


def _assert_the_watch_sees(watch: Watch) -> None:
    """The count of nobody means something: whoever does call is counted."""
    for address in INSIDE:
        socket.create_connection((address, PORT)).close()
    eventually(lambda: watch.calls == len(INSIDE), "the watch has seen the calls")
