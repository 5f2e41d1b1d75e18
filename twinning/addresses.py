# SPDX-License-Identifier: Apache-2.0
"""Where webhooks may go: the rules for a receiver's URL and for every address that its name answers with.

The check of a URL touches no network and runs when an endpoint is stored and again at every attempt.
The check of addresses runs on each look-up, and one forbidden answer refuses them all.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Never
from urllib.parse import SplitResult, quote, urlsplit

import idna

Address = IPv4Address | IPv6Address

LONGEST_URL = 2048
LONGEST_HOST = 253
PORTS = {"https": 443, "http": 80}
NAME_PORTS = frozenset({443, 8443})

# Each refusal's code with the sentence that tells the owner of the endpoint what to do.
REFUSALS = {
    "url-too-long": "Give a URL of at most 2,048 characters.",
    "url-bad-characters": "Percent-encode blanks, control characters and backslashes in the URL.",
    "url-unparseable": "Give one complete URL, such as https://hooks.example.org/in.",
    "url-scheme-not-allowed": "Give a URL that begins with https://.",
    "url-userinfo-forbidden": "Leave user name and password out of the URL; give the endpoint a header.",
    "url-fragment-forbidden": "Leave out the # and everything after it.",
    "url-port-invalid": "Write the port as a number up to 65535, or leave it out.",
    "url-host-missing": "Name the receiving host right after the two slashes.",
    "url-host-invalid": "Spell the host name as DNS does: letters, digits, inner hyphens, dots.",
    "url-host-not-public-name": "Give a full public host name, such as hooks.example.org.",
    "url-ip-literal-forbidden": "Give a host name in place of an IP address.",
    "url-port-not-allowed": "Let the receiver listen on port 443 or 8443.",
    "host-not-resolvable": "Publish the host name in DNS, or correct its spelling.",
    "address-not-public": "Let the host name answer in DNS with public addresses only.",
}

# What no receiver's name ends in: reserved by RFC 2606, 6761, 6762, 7686, 8375, 9476, or private by custom.
NOT_PUBLIC_ENDING = re.compile(
    "localhost|localdomain|local|internal|intranet|lan|home|corp|test|invalid|example|onion|arpa|alt",
)


def _networks(blocks: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(block) for block in blocks.split())


# The special-purpose blocks of IANA, and the one address in a public range at which Azure's hosts answer.
FORBIDDEN_V4 = _networks("""
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24
    192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15
    198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 168.63.129.16/32
""")
# IPv6 goes the other way round: only the global unicast block is open, less these.
OPEN_V6 = IPv6Network("2000::/3")
FORBIDDEN_V6 = _networks("2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20")
NAT64 = IPv6Network("64:ff9b::/96")
# Forms that carry an IPv4 address inside; allowing one would open an IPv4 address by a side door.
CARRIERS = _networks("::ffff:0:0/96 ::ffff:0:0:0/96 64:ff9b::/96 64:ff9b:1::/48 2001::/32 2002::/16")
COMPATIBLE = IPv6Network("::/96")
FIRST_COMPATIBLE = 2  # :: and ::1 lie in that block and carry no IPv4 address.

# Cc but for the blanks that \s already holds, and lone surrogates, which no encoding can store.
BAD_CHARACTERS = re.compile(r"[\x00-\x20\x7f-\x9f\\\s\ud800-\udfff]")
LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
BRACKETED = re.compile(r"\[[^\[\]]*\](:[^\[\]]*)?")
VISIBLE_ASCII = "".join(map(chr, range(0x21, 0x7F)))


class AddressRefused(ValueError):
    """Raised for a URL or an address that webhooks may not go to.

    `code` is one of REFUSALS; `detail` says what to do and never names an address that DNS gave.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
        self.detail = REFUSALS[code]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator opens beyond public https receivers: networks by CIDR, and plain http."""

    allow_cidrs: tuple[IPv4Network | IPv6Network, ...] = ()
    allow_http: bool = False

    @classmethod
    def parse(cls, cidrs: Iterable[str], *, allow_http: bool = False) -> "Rules":
        """Rules from networks as text; ValueError for one that is none or has host bits set."""
        return cls(tuple(ip_network(cidr) for cidr in cidrs), allow_http)


@dataclass(frozen=True, slots=True)
class Receiver:
    """A URL that passed: as it is stored, and the parts that a connection needs.

    `host` is in lower case and ASCII, without brackets; `literal` tells that it is an IP address.
    """

    url: str
    scheme: str
    host: str
    port: int
    literal: bool


def check_url(url: object, rules: Rules) -> Receiver:
    """The receiver that a URL names, in its one stored spelling; AddressRefused when it may not be called.

    Nothing is looked up here. A second check of the stored spelling gives the same receiver.
    """
    parts = _split(url)
    if parts.scheme not in PORTS or (parts.scheme == "http" and not rules.allow_http):
        _refuse("url-scheme-not-allowed")
    if "@" in parts.netloc:
        _refuse("url-userinfo-forbidden")
    if "#" in str(url):
        _refuse("url-fragment-forbidden")
    port = _port(parts)
    host, literal = _host(parts, rules)
    if not _port_allowed(port, parts.scheme, literal=literal):
        _refuse("url-port-not-allowed")
    shown = f"[{host}]" if ":" in host else host
    authority = shown if port == PORTS[parts.scheme] else f"{shown}:{port}"
    rest = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=VISIBLE_ASCII)
    stored = f"{parts.scheme}://{authority}{rest}"
    if len(stored) > LONGEST_URL:
        _refuse("url-too-long")
    return Receiver(stored, parts.scheme, host, port, literal)


def is_allowed(ip: str | Address, rules: Rules) -> bool:
    """Whether a webhook may go to this address: public, or in a network that the operator opened.

    A text that is no address, and an address with a zone, is never allowed.
    """
    try:
        return _is_allowed(ip_address(ip), rules)
    except ValueError:
        return False


def vet(answers: Iterable[str], rules: Rules) -> list[str]:
    """All answers of one look-up, each once and in order; AddressRefused when any one is forbidden.

    A name with one public and one private address is refused whole: whoever controls the name
    could otherwise choose which of them is called.
    """
    addresses = list(dict.fromkeys(answers))
    if not addresses:
        _refuse("host-not-resolvable")
    if not all(is_allowed(address, rules) for address in addresses):
        _refuse("address-not-public")
    return addresses


def _refuse(code: str) -> Never:
    raise AddressRefused(code)


def _split(url: object) -> SplitResult:
    """The raw parts of a URL; its characters are judged first, since urlsplit drops tabs and blanks."""
    if not isinstance(url, str):
        _refuse("url-unparseable")
    if len(url) > LONGEST_URL:
        _refuse("url-too-long")
    if BAD_CHARACTERS.search(url):
        _refuse("url-bad-characters")
    try:
        return urlsplit(url)
    except ValueError:
        # Versions of Python differ in the brackets that they take before an @, which is refused for itself.
        scheme, _, rest = url.partition("://")
        authority = re.split("[/?#]", rest, maxsplit=1)[0]
        if "[" in authority and "@" in authority:
            return SplitResult(scheme.lower(), authority, "", "", "")
        _refuse("url-unparseable")


def _port(parts: SplitResult) -> int:
    try:
        return PORTS[parts.scheme] if parts.port is None else parts.port
    except ValueError:
        _refuse("url-port-invalid")


def _port_allowed(port: int, scheme: str, *, literal: bool) -> bool:
    """A literal got here only through an opened network, where any port but 0 is allowed."""
    return port > 0 if literal else port in NAME_PORTS or (scheme, port) == ("http", PORTS["http"])


def _host(parts: SplitResult, rules: Rules) -> tuple[str, bool]:
    """The host as DNS or the socket spells it, and whether it is an IP literal."""
    if parts.netloc.startswith("["):
        if not BRACKETED.fullmatch(parts.netloc):
            _refuse("url-unparseable")
        return _literal(parts.hostname or "", rules), True
    if not parts.hostname:
        _refuse("url-host-missing")
    mapped = _mapped(parts.hostname)
    numbers = [NUMBER.fullmatch(_in_our_digits(label)) for label in mapped.split(".")]
    if all(numbers):
        return _literal(mapped, rules), True
    host = _dns_spelling(mapped)
    labels = host.split(".")
    if not all(LABEL.fullmatch(label) for label in labels) or len(host) > LONGEST_HOST:
        _refuse("url-host-invalid")
    if len(labels) == 1 or NOT_PUBLIC_ENDING.fullmatch(labels[-1]) or numbers[-1]:
        _refuse("url-host-not-public-name")
    return host, False


def _literal(text: str, rules: Rules) -> str:
    """The canonical text of an IP literal in an opened network; short, octal and hex forms are none."""
    if not rules.allow_cidrs:
        _refuse("url-ip-literal-forbidden")
    try:
        address = ip_address(text)
    except ValueError:
        _refuse("url-ip-literal-forbidden")
    if not _is_opened(address, rules):
        _refuse("url-ip-literal-forbidden")
    return str(address)


def _mapped(host: str) -> str:
    """A host name in lower case, in characters that IDNA keeps (UTS #46), without its final dot."""
    try:
        return idna.uts46_remap(host, std3_rules=True).removesuffix(".")
    except UnicodeError:
        _refuse("url-host-invalid")


def _in_our_digits(label: str) -> str:
    """A label with the digits of every script as ours: DNS tells them apart, and some libraries do not."""
    return "".join(str(unicodedata.decimal(each)) if each.isdecimal() else each for each in label)


def _dns_spelling(mapped: str) -> str:
    """A mapped host name in ASCII (IDNA 2008, label by label)."""
    try:
        return ".".join(_ascii_label(label) for label in mapped.split("."))
    except UnicodeError:
        _refuse("url-host-invalid")


def _ascii_label(label: str) -> str:
    """One label as DNS spells it; UnicodeError when it is no word of IDNA.

    Plain ASCII is left to LABEL, since real names have hyphens where IDNA 2008 forbids them.
    """
    if label.isascii() and not label.startswith("xn--"):
        return label
    return idna.alabel(label).decode("ascii")


@lru_cache(maxsize=4096)
def _is_allowed(address: Address, rules: Rules) -> bool:
    if isinstance(address, IPv4Address):
        return _is_opened(address, rules) or not any(address in block for block in FORBIDDEN_V4)
    if address.scope_id is not None:
        return False
    if address in NAT64:
        return _is_allowed(IPv4Address(int(address) & 0xFFFFFFFF), rules)
    if _is_opened(address, rules):
        return True
    return address in OPEN_V6 and not any(address in block for block in FORBIDDEN_V6)


def _is_opened(address: Address, rules: Rules) -> bool:
    """Whether the operator's networks hold the address; a carrier of an IPv4 address is in none of them."""
    if isinstance(address, IPv6Address) and (address.scope_id is not None or _carries_v4(address)):
        return False
    return any(address in network for network in rules.allow_cidrs)


def _carries_v4(address: IPv6Address) -> bool:
    if address in COMPATIBLE:
        return int(address) >= FIRST_COMPATIBLE
    return any(address in block for block in CARRIERS)
