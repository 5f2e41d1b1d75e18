# SPDX-License-Identifier: Apache-2.0
"""Words that cities use for one thing: a small table for what a need calls one way and a practice another.

A need is judged by its own words. Those of the table stand beside the words of the first matches, as
related words with a reduced weight, and are shown as such. The groups were written by hand for this field.
What they hold together, glossaries of the field treat as one subject: UNESCO TVETipedia (vocational
education, work-based learning), Cedefop's Terminology of European education and training policy (2014: early
leaving, validation, guidance), the Eurydice glossary, ISCED 2011 (levels of education) and UNESCO's
Recommendation on Adult Learning and Education (2015). Where law draws a line, so do they: refugees and
migrants are two groups.

A need is known by its terms alone, not by their order. So a phrase stands here only when a text that holds
all its words is most likely about it: "out of school" would be opened by every "school".
"""

from collections.abc import Mapping

from services.matcher.engine.text import count_terms

GROUPS = """
kindergarten | preschool | nursery schools | early childhood | childcare | ECEC | ECCE
apprenticeships | dual training | work-based learning | workplace learning | traineeships
internships | work placements | traineeships
vocational education | vocational training | TVET | VET | technical education
reskilling | upskilling | retraining
dropouts | early school leavers | early school leaving | NEET
unemployed | unemployment | jobless | jobseekers | job seekers
employers | companies | firms | enterprises
employability | job readiness | work readiness
career guidance | careers advice | vocational guidance | career counselling
entrepreneurship | entrepreneurs | startups | self-employment | small businesses
community learning centres | adult education centres | kominkan | CLC
recognition of prior learning | validation of non-formal learning | validation of informal learning | RPL
microcredentials | micro-credentials | digital badges | open badges
elearning | online learning | distance learning | distance education | remote learning | virtual learning
digital skills | digital literacy | computer skills | ICT skills | digital competence | digital inclusion
artificial intelligence | AI | machine learning
open educational resources | OER
literacy | illiteracy | reading and writing
numeracy | arithmetic | mathematics | maths
basic skills | foundational skills
library | libraries | librarians | reading rooms
mentoring | mentors | coaching | tutoring
teachers | educators | instructors | trainers | schoolteachers
curriculum | curricula | syllabus
primary schools | elementary schools
university | universities | higher education | tertiary education
elderly | older people | older adults | older persons | seniors | senior citizens | pensioners | retirees
dementia | Alzheimer
intergenerational | grandparents
youth | young people | adolescents | teenagers
pupils | schoolchildren
parents | mothers | fathers | parenting | caregivers
family learning | family literacy | parental involvement
migrants | immigrants | newcomers | migration
refugees | asylum seekers | displaced people | newcomers
ethnic minorities | indigenous peoples | minority groups
multilingual | plurilingual | bilingual
disabled | disabilities | impairments
deaf | hearing impaired | sign language
blind | visually impaired
disadvantaged | vulnerable | underprivileged | deprived | marginalised | underserved
poverty | low-income
homeless | homelessness | rough sleepers
prisons | prisoners | inmates | offenders
gender equality | gender equity | women's empowerment
volunteers | voluntary work
citizenship education | civic education | democracy education
study circles | learning circles
makerspaces | fablabs | fab labs
museums | galleries
crafts | handicrafts | artisans | craftspeople
wellbeing | wellness
health literacy | health education | health promotion
climate change | global warming | climate action
environmental education | sustainability education | education for sustainable development | ESD
recycling | circular economy | reuse | zero waste
urban farming | urban agriculture | community gardens | allotments
cycling | bicycles | bikes
disaster preparedness | disaster risk reduction | emergency preparedness
neighbourhoods | districts | barangay
rural | villages | countryside
municipality | local government | local authority | city administration | town hall
NGO | non-governmental organisations | civil society organisations | nonprofit | charities
funding | financing | grants
"""
"""A group a line; a need that holds all words of one phrase is lent those of the others."""

Phrase = frozenset[str]

_PHRASES: tuple[tuple[Phrase, ...], ...] = tuple(
    tuple(dict.fromkeys(frozenset(count_terms(phrase)) for phrase in line.split("|")))
    for line in GROUPS.strip().splitlines()
)


def _groups_by_word() -> dict[str, tuple[int, ...]]:
    """For each word of a phrase the groups that it may open."""
    found: dict[str, list[int]] = {}
    for number, group in enumerate(_PHRASES):
        for word in frozenset().union(*group):
            found.setdefault(word, []).append(number)
    return {word: tuple(numbers) for word, numbers in found.items()}


_GROUPS_OF = _groups_by_word()

WORDS = frozenset(_GROUPS_OF)
"""Only these terms are ever lent others."""


def lent(counts: Mapping[str, int]) -> dict[str, float]:
    """The terms that a need's terms stand for as well, each with a share from 0 to 1.

    A phrase of several words gives each of them its part, for one of them alone says less; the best share of
    a term counts, and the need's own terms are not among them.
    """
    groups = dict.fromkeys(number for term in counts for number in _GROUPS_OF.get(term, ()))
    shares: dict[str, float] = {}
    for number in groups:
        if not any(phrase <= counts.keys() for phrase in _PHRASES[number]):
            continue
        for phrase in _PHRASES[number]:
            for term in phrase - counts.keys():
                shares[term] = max(shares.get(term, 0.0), 1.0 / len(phrase))
    return shares
