# SPDX-License-Identifier: Apache-2.0
"""The sentences of a text, to quote one as it was written.

Where it is not sure that a sentence ends, none is cut: a long quotation reads well, half a one does not.
"""

import re

_CLOSING = "\"')\\]\u2019\u201d\u300d\u300f\uff09"
_SENTENCE_END = re.compile(
    rf"[.!?\u2026\u17d4\u104b\u0964]+[{_CLOSING}]*\s+(?=[^\sa-z])|[\u3002\uff01\uff1f][{_CLOSING}]*\s*|\s*\n\s*"
)
# A full stop after one of these, or after a single letter or number, ends no sentence.
_ABBREVIATED = re.compile(
    r"(?:^|[\s(])(?:\w|\w\.\w|approx|art|bzw|ca|cf|chap|dept|dr|ed|etc|ex|fig|incl|max|min|mr|mrs|ms|no|nos|nr"
    r"|p\.\s?ex|pp|prof|resp|sec|st|tel|u\.\s?a|usw|vol|vs|z\.\s?B)\.\s+$",
    re.IGNORECASE,
)


def sentences(text: str) -> list[str]:
    """The sentences of a text, each a verbatim slice of it without the white space around it."""
    found, start = [], 0
    for end in _SENTENCE_END.finditer(text):
        if _ABBREVIATED.search(text, max(0, end.start() - 16), end.end()) and "\n" not in end[0]:
            continue
        found.append(text[start : end.end()].strip())
        start = end.end()
    found.append(text[start:].strip())
    return [sentence for sentence in found if sentence]
