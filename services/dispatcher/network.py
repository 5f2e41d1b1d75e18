# SPDX-License-Identifier: Apache-2.0
"""What a connection needs of this machine: the settings of TLS."""

import ssl
from functools import cache


@cache
def tls_context(cafile: str | None = None) -> ssl.SSLContext:
    """The TLS settings of this process: 1.2 or newer, always verified, `cafile` trusted besides the system's.

    Made once, since one costs some 20 ms of processor time.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if cafile is not None:
        context.load_verify_locations(cafile)
    return context
