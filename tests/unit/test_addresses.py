# SPDX-License-Identifier: Apache-2.0
"""The verdicts of the address rules, row by row from a table that other senders can be tested with too."""

import json
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinning.addresses import REFUSALS, AddressRefused, Rules, check_url, is_allowed, vet

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "docs" / "examples"
CASES: dict[str, list[dict[str, Any]]] = json.loads((EXAMPLES / "address_cases.json").read_text("utf-8"))
STRICT = Rules()
OPEN = Rules.parse(["127.0.0.0/8", "::/0"], allow_http=True)


def rows(section: str) -> pytest.MarkDecorator:
    """Run a test once for each row of a section of the table."""
    return pytest.mark.parametrize("row", [pytest.param(row, id=row["id"]) for row in CASES[section]])


def verdict(url: object, rules: Rules) -> str:
    """The stored URL, or the code of the refusal."""
    try:
        return check_url(url, rules).url
    except AddressRefused as refusal:
        return refusal.code


@rows("urls")
def test_url(row: dict[str, Any]) -> None:
    """Each URL is stored as the table says or refused with its code."""
    assert verdict(row["url"], STRICT) == row.get("stored", row.get("refused"))


@rows("opened_urls")
def test_url_under_opened_rules(row: dict[str, Any]) -> None:
    """An operator's networks open IP literals on any port, and plain http opens port 80, nothing else."""
    rules = Rules.parse(row["allow_cidrs"], allow_http=row["allow_http"])
    assert verdict(row["url"], rules) == row.get("stored", row.get("refused"))


@rows("addresses")
def test_address_as_dns_answer(row: dict[str, Any]) -> None:
    """An address in a DNS answer is allowed exactly when the table says so, alone or beside a good one."""
    answers = ["93.184.215.14", row["address"]]
    assert is_allowed(row["address"], STRICT) is row["allowed"]
    assert is_allowed(ip_address(row["address"]), STRICT) is row["allowed"]
    if row["allowed"]:
        assert vet(answers, STRICT) == list(dict.fromkeys(answers))
    else:
        with pytest.raises(AddressRefused, match="address-not-public"):
            vet(answers, STRICT)


@rows("addresses")
def test_address_as_literal(row: dict[str, Any]) -> None:
    """Every IP literal is refused, public ones too, as long as no network is opened."""
    host = f"[{row['address']}]" if ":" in row["address"] else row["address"]
    assert verdict(f"https://{host}/in", STRICT) == "url-ip-literal-forbidden"


@rows("opened_addresses")
def test_address_under_opened_rules(row: dict[str, Any]) -> None:
    """An opened network opens its own addresses and no other spelling that carries an IPv4 address."""
    assert is_allowed(row["address"], Rules.parse(row["allow_cidrs"])) is row["allowed"]


@rows("lookups")
def test_lookup(row: dict[str, Any]) -> None:
    """One forbidden answer refuses the name; good answers come back once each, in order."""
    assert verdict(f"https://{row['name']}/", STRICT) == f"https://{row['name']}/"
    if "vetted" in row:
        assert vet(row["answers"], STRICT) == row["vetted"]
    else:
        with pytest.raises(AddressRefused) as refused:
            vet(row["answers"], STRICT)
        assert refused.value.code == row["refused"]


@pytest.mark.parametrize("url", [None, 7, b"https://h.example.org/", ["https://h.example.org/"]])
def test_url_of_another_type(url: object) -> None:
    """What is no text is no URL."""
    assert verdict(url, STRICT) == "url-unparseable"


def test_ten_megabytes_are_refused_unread() -> None:
    """The length is judged before anything scans the text, so a blank in it does not matter."""
    assert verdict("https://h.example.org/" + " a" * 5_000_000, STRICT) == "url-too-long"


def test_parts_of_a_receiver() -> None:
    """A receiver tells scheme, host, port and whether the host is a literal."""
    named = check_url("https://Hooks.Example.org:8443/in?x=1", STRICT)
    assert (named.scheme, named.host, named.port, named.literal) == (
        "https",
        "hooks.example.org",
        8443,
        False,
    )
    literal = check_url("http://[::1]:9999/", OPEN)
    assert (literal.scheme, literal.host, literal.port, literal.literal) == ("http", "::1", 9999, True)


def test_details_help_and_tell_no_address() -> None:
    """Every refusal has one sentence, and the sentence for a forbidden answer does not name it."""
    assert all(detail.endswith(".") and detail.count(". ") == 0 for detail in REFUSALS.values())
    with pytest.raises(AddressRefused) as refused:
        vet(["10.11.12.13"], STRICT)
    assert "10.11.12.13" not in refused.value.detail + str(refused.value)


PIECES = r"""
    https http :// / // : @ # ? % [ ] \ . .. xn-- 127.0.0.1 0x7f 443 8443 99999 ::1 %25 %2e a- -a _ 1
    hooks example org localhost internal bücher faß
"""
# Ideographic and fullwidth dots and digits, circled letters, what IDNA drops, and the other direction.
ODD_PIECES = list("\u3002\uff0e\uff61\uff11\u2460\u24db\u00ad\u200d\u202e\u05d0\ud800\x00 ")
URL_PIECE = st.sampled_from(PIECES.split() + ODD_PIECES) | st.text(max_size=3)
URL_PIECES = st.lists(URL_PIECE, max_size=14).map("".join)
URLS = st.one_of(st.text(), URL_PIECES, URL_PIECES.map("https://".__add__), URL_PIECES.map("http://".__add__))


@given(url=URLS, rules=st.sampled_from([STRICT, OPEN]))
def test_any_text_is_stored_or_refused(url: str, rules: Rules) -> None:
    """No text raises anything but a refusal, and what is stored passes again unchanged."""
    stored = verdict(url, rules)
    if stored not in REFUSALS:
        receiver = check_url(url, rules)
        assert stored.isascii()
        assert check_url(stored, rules) == receiver
        assert receiver.literal or "." in receiver.host


@given(address=st.ip_addresses())
def test_what_python_calls_private_is_refused(address: IPv4Address | IPv6Address) -> None:
    """Nothing that the standard library knows to be private or of special use is allowed."""
    known = address.is_private or address.is_loopback or address.is_link_local or address.is_multicast
    if known or address.is_reserved or address.is_unspecified:
        assert not is_allowed(address, STRICT) or str(address).startswith("64:ff9b::")


@given(inner=st.ip_addresses(v=4), prefix=st.sampled_from(["::ffff:0:0", "::", "::ffff:0:0:0"]))
def test_carriers_of_an_ipv4_address_are_refused(inner: IPv4Address, prefix: str) -> None:
    """A form that carries an IPv4 address is refused whatever it carries and whatever is opened."""
    carrier = IPv6Address(int(IPv6Address(prefix)) | int(inner) | 2)
    assert not is_allowed(carrier, OPEN)


@given(inner=st.ip_addresses(v=4))
def test_nat64_has_the_verdict_of_what_it_carries(inner: IPv4Address) -> None:
    """The well-known NAT64 prefix leads to the IPv4 address inside, so its verdict counts."""
    outer = IPv6Address(int(IPv6Address("64:ff9b::")) | int(inner))
    assert is_allowed(outer, STRICT) is is_allowed(inner, STRICT)


@given(text=st.text())
def test_text_that_is_no_address_is_never_allowed(text: str) -> None:
    """Whatever a resolver hands over, only a real address can be allowed."""
    assert not is_allowed(text + "x!", OPEN)
