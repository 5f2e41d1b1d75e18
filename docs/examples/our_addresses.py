# SPDX-License-Identifier: Apache-2.0
"""Answers check_addresses.py by the rules of ASEM Twinning, as an example of a command to be tried.

python check_addresses.py --codes --strict python our_addresses.py
"""

import json
import sys
from typing import Any

from twinning.addresses import AddressRefused, Rules, check_url, is_allowed, vet


def judge(asked: dict[str, Any]) -> dict[str, Any]:
    """Answer one question."""
    rules = Rules.parse(asked["allow_cidrs"], allow_http=asked["allow_http"])
    if asked["kind"] == "address":
        return {"allowed": is_allowed(asked["address"], rules)}
    try:
        if asked["kind"] == "lookup":
            vet(asked["answers"], rules)
            return {"allowed": True}
        return {"allowed": True, "stored": check_url(asked["url"], rules).url}
    except AddressRefused as refused:
        return {"allowed": False, "code": refused.code}


for line in sys.stdin:
    print(json.dumps(judge(json.loads(line))))
