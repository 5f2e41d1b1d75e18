# SPDX-License-Identifier: Apache-2.0
"""A second opinion: the package `ssrfguard` on any address and any spelling, and why we differ where we do.

Whatever it refuses, we refuse. Where we refuse and it does not, a line of the list says why.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

import pytest
import ssrfguard
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.unit.test_addresses import CASES, STRICT, verdict
from twinning.addresses import OPEN_V6, REFUSALS, is_allowed

# Where only we refuse, by network, the first that fits.
ONLY_OURS = {
    "168.63.129.16/32": "the address at which Azure's hosts answer lies in a public range",
    "::ffff:0:0:0/96": "SIIT-translated IPv4, which a translator turns into the address inside",
    "::ffff:0:0/96": "IPv4-mapped: no look-up for a public receiver gives it, so it is a trick or a mistake",
    "::/96": "IPv4-compatible, deprecated since 2006: the same",
    "2002::/16": "6to4, whose relays are gone: whoever answers there is not the receiver",
    "2001::/23": "Teredo, and anycast services of IANA: nobody's webhooks are received there",
    "2620:4f:8000::/48": "AS112, the sink for questions about private addresses",
    "192.0.0.0/24": "anycast services of IANA: the same",
    "192.31.196.0/24": "AS112: the same",
    "192.52.193.0/24": "AMT relays: the same",
    "192.175.48.0/24": "AS112: the same",
}
LISTED = {ip_network(block): why for block, why in ONLY_OURS.items()}
NOT_UNICAST = "IPv6 goes the other way round: what IANA has given to nobody is closed"
NAT64 = IPv6Network("64:ff9b::/96")
PEER = ssrfguard.Policy(allowed_schemes=frozenset({"https"}), allowed_ports=frozenset({443, 8443}))


def why_only_ours(address: IPv4Address | IPv6Address) -> str | None:
    """The reason on the list for an address that we alone refuse."""
    if isinstance(address, IPv6Address):
        if address in NAT64:
            return why_only_ours(IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in OPEN_V6 and not any(address in block for block in LISTED if block.version == 6):
            return NOT_UNICAST
    return next((why for block, why in LISTED.items() if address in block), None)


V4 = st.ip_addresses(v=4)


def inside(block: str) -> st.SearchStrategy[IPv4Address | IPv6Address]:
    return st.ip_addresses(network=block)


def carrying(prefix: str, shift: int = 0) -> st.SearchStrategy[IPv4Address | IPv6Address]:
    """IPv6 addresses under a prefix that carry an IPv4 address, `shift` bits from the end."""
    return V4.map(lambda inner: IPv6Address(int(IPv6Address(prefix)) | int(inner) << shift))


# Uniform draws would hardly ever meet a special block, so most are drawn inside one or at its edges.
BLOCKS = sorted({*ONLY_OURS, *(str(block.network) for block in ssrfguard.DEFAULT_DENIED.blocks)})


def edges(block: str) -> list[IPv4Address | IPv6Address]:
    """A network's first and last address, and those just outside."""
    network = ip_network(block)
    first, last = int(network[0]), int(network[-1])
    make, end = type(network[0]), 2**network.max_prefixlen
    return [make(number) for number in (first - 1, first, last, last + 1) if 0 <= number < end]


EDGES = st.sampled_from([address for block in BLOCKS for address in edges(block)])
ADDRESSES = st.one_of(
    V4,
    st.ip_addresses(v=6),
    inside("2000::/3"),
    st.sampled_from(BLOCKS).flatmap(inside),
    EDGES,
    carrying("::"),
    carrying("::ffff:0:0"),
    carrying("::ffff:0:0:0"),
    carrying("64:ff9b::"),
    carrying("64:ff9b:1::"),
    carrying("2002::", 80),
    carrying("2001::", 64),
    V4.map(lambda inner: IPv6Address(int(IPv6Address("2001:0:5db8:d70e::")) | (~int(inner) & 0xFFFFFFFF))),
)


def differ_with_reason(address: IPv4Address | IPv6Address) -> None:
    """Hold our verdict on an address against the peer's."""
    ours, theirs = is_allowed(address, STRICT), not ssrfguard.DEFAULT_DENIED.classify(address).blocked
    assert theirs or not ours, f"we let {address} through"
    if theirs and not ours:
        assert why_only_ours(address), f"we alone refuse {address}, and nothing says why"


@given(address=ADDRESSES)
def test_where_we_differ_the_list_says_why(address: IPv4Address | IPv6Address) -> None:
    """What the peer refuses we refuse; what we alone refuse stands on the list, and nothing else does."""
    differ_with_reason(address)


@pytest.mark.parametrize("block", BLOCKS)
def test_at_every_border_the_list_says_why(block: str) -> None:
    """So it is at the first and last address of every block that either knows, and just outside."""
    for address in edges(block):
        differ_with_reason(address)


@pytest.mark.parametrize("row", ["I14", "I28"])
def test_the_peers_known_misses(row: str) -> None:
    """Azure's wire server and a SIIT-translated loopback are what the peer lets through and we do not."""
    [address] = [one["address"] for one in CASES["addresses"] if one["id"] == row]

    assert not ssrfguard.DEFAULT_DENIED.classify(address).blocked
    assert not is_allowed(address, STRICT)


@pytest.mark.parametrize("block", ONLY_OURS)
def test_no_line_of_the_list_is_idle(block: str) -> None:
    """Each line is needed: some address in its network is refused by us and by nobody else."""
    network = ip_network(block)
    public = int(IPv4Address("93.184.215.14"))
    tried = [
        network[0] + min(offset, network.num_addresses - 1)
        for offset in (0, 1, 9, public, public << 80, 1 << 96, (0x112 << 80) | (4 << 96))
        if int(network[0]) + offset <= int(network[-1])
    ]

    only_ours = [
        address
        for address in tried
        if not is_allowed(address, STRICT) and not ssrfguard.DEFAULT_DENIED.classify(address).blocked
    ]
    assert only_ours


def spellings(number: int) -> list[str]:
    """An IPv4 address as parsers of all ages have taken it."""
    a, b, c, d = number.to_bytes(4, "big")
    dotted = f"{a}.{b}.{c}.{d}"
    return [
        dotted,
        f"{dotted}.",
        str(number),
        hex(number),
        hex(number).upper(),
        f"0{number:o}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}",
        f"{a}.{(b << 16) | (c << 8) | d}",
        f"{a}.{b}.{(c << 8) | d}",
        f"{a:03}.{b:03}.{c:03}.{d:03}",
        dotted.replace(".", "\u3002"),
        dotted.translate({ord("0") + digit: 0xFF10 + digit for digit in range(10)}),
        dotted.translate({ord("0") + digit: 0x0966 + digit for digit in range(10)}),
        f"[::ffff:{dotted}]",
        f"[::ffff:{number >> 16:x}:{number & 0xFFFF:x}]",
        f"[::FFFF:{dotted}%25lo]",
        f"[64:ff9b::{dotted}]",
        dotted.replace(".", "%2e"),
    ]


@given(inner=V4, which=st.integers(0, 18), rest=st.sampled_from(["/", ":443/", ":8443/x", "?a=b"]))
def test_no_spelling_of_an_address_is_taken(inner: IPv4Address, which: int, rest: str) -> None:
    """However an IPv4 address is spelt as a host, it is refused; so the peer's verdict can only be milder."""
    assert verdict(f"https://{spellings(int(inner))[which]}{rest}", STRICT) in REFUSALS


NAMES = st.from_regex(r"[a-zA-Z0-9.%_\-\[\]:@\u00fc\u3002\uff0e\u2460]{1,30}", fullmatch=True)


@given(host=NAMES, rest=st.sampled_from(["", "/", ":443/", ":8443/", ".example.org/", "@h.example.org/"]))
def test_no_url_that_the_peer_refuses_is_taken(host: str, rest: str) -> None:
    """A URL that the peer refuses is refused here, too."""
    url = f"https://{host}{rest}"
    try:
        PEER.check_url(url)
    except ssrfguard.SSRFGuardError:
        assert verdict(url, STRICT) in REFUSALS
    else:
        # Only what it refuses is of interest.
        assume(condition=False)
