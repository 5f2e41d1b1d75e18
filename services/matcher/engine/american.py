# SPDX-License-Identifier: Apache-2.0
"""One spelling for words that British and American English spell differently.

Cities in Asia and Europe write both. The rules turn British spellings into American ones before words are
stemmed; what people read keeps its author's spelling. They follow the lists that style guides give of the
regular differences (-our, -re, -ise, -yse, doubled l), and a word on neither side of a rule stays as it is.
Words that would fall together with another one stay as well: storey, tyre, cheque, and practise, for
"practice" is what half of all listings say of themselves.
"""

import re

_OUR = """
    arbour ardour armour behaviour candour clamour colour demeanour endeavour favour fervour flavour harbour
    honour humour labour neighbour odour parlour rancour rigour rumour saviour savour splendour tumour valour
    vapour vigour
"""
_RE = "calibre centre fibre litre lustre meagre metre sceptre spectre theatre"
_DOUBLED = """
    cancell channell counsell labell levell marvell modell panell quarrell signall travell tunnell
"""

_OTHERS = {
    "ageing": "aging",
    "analogue": "analog",
    "catalogue": "catalog",
    "catalogued": "cataloged",
    "catalogues": "catalogs",
    "cataloguing": "cataloging",
    "defence": "defense",
    "dialogue": "dialog",
    "dialogues": "dialogs",
    "enrol": "enroll",
    "enrolment": "enrollment",
    "enrolments": "enrollments",
    "enrols": "enrolls",
    "fulfil": "fulfill",
    "fulfilment": "fulfillment",
    "grey": "gray",
    "jewellery": "jewelry",
    "judgement": "judgment",
    "licence": "license",
    "licences": "licenses",
    "offence": "offense",
    "paediatric": "pediatric",
    "programme": "program",
    "programmes": "programs",
    "pyjamas": "pajamas",
    "sceptical": "skeptical",
    "skilful": "skillful",
    "wilful": "willful",
}

# Words in -ise that are so spelt everywhere, by what stands before it: advise, praise, otherwise, surprise.
_ALWAYS_S = re.compile(
    r"[aouvw]$|pr$"
    r"|^(?:advert|chast|circumc|comprom|conc|dem|desp|exc|exerc|expert|franch|inc|merchand|parad|(?:im)?prec|prem|prom"
    r"|surm|treat)$"
)

_ISE = re.compile(r"^(\w{3,})is(e|es|ed|er|ers|ing|able|ation|ations|ational)$")
_LYSE = re.compile(r"^(\w{2,}l)ys(e|es|ed|er|ers|ing)$")

_STARTS = {
    **{word: word.removesuffix("our") + "or" for word in _OUR.split()},
    **{word: word.removesuffix("re") + "er" for word in _RE.split()},
    **{word.removesuffix("e") + "ed": word.removesuffix("re") + "ered" for word in _RE.split()},
    **{word: word.removesuffix("l") for word in _DOUBLED.split()},
}
_LETTERS = min(map(len, _STARTS))
_BEGINNINGS = frozenset(start[:_LETTERS] for start in _STARTS)
_START = re.compile("|".join(sorted(_STARTS, key=len, reverse=True)))


def american(word: str) -> str:
    """The American spelling of a lower-case word, or the word itself."""
    if word in _OTHERS:
        return _OTHERS[word]
    # Most words differ in their first letters already, which costs a tenth of trying all the rules.
    if word[:_LETTERS] in _BEGINNINGS and (found := _START.match(word)):
        return _STARTS[found[0]] + word[found.end() :]
    if "ys" in word and (found := _LYSE.match(word)):
        return f"{found[1]}yz{found[2]}"
    if "is" in word and (found := _ISE.match(word)) and not _ALWAYS_S.search(found[1]):
        return f"{found[1]}iz{found[2]}"
    return word
