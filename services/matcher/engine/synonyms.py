# SPDX-License-Identifier: Apache-2.0
"""Words that cities use for one thing: a small table for what a need calls one way and a practice another.

A need is judged by its own words. Those of the table stand beside the words of the first matches, as
related words with a reduced weight, and are shown as such. The groups were written by hand for this field,
and not taken over from any list. Its vocabularies, where a group may be checked: UNESCO TVETipedia, Cedefop's
Terminology of European education and training policy (2014), the Eurydice glossary, ISCED 2011, UNESCO's
Recommendation on Adult Learning and Education (2015) and its Thesaurus; EuroVoc, for what cities do beside
education; the WHO's Health Promotion Glossary (2021); UNDRR's terminology (2017) and the IPCC's glossary, for
disasters and climate. Where law draws a line, so do they: refugees and migrants are two groups.

A need is known by its terms alone, not by their order. So a phrase stands here only when a text that holds
all its words is most likely about it: "out of school" would be opened by every "school".
"""

from collections.abc import Mapping

from services.matcher.engine.text import count_terms

GROUPS = """
kindergarten | preschool | nursery schools | early childhood | early years | childcare | ECEC | ECCE
adult learning | adult education | continuing education | recurrent education | ALE
non-formal learning | informal learning | extracurricular
second chance education | equivalency programme | alternative learning system
apprenticeships | dual training | dual system | work-based learning | workplace learning | traineeships
internships | work placements | traineeships
vocational education | vocational training | TVET | VET | technical education
reskilling | upskilling | retraining
dropouts | early school leavers | early school leaving | NEET | school absenteeism | truancy
unemployed | unemployment | jobless | jobseekers | job seekers
employers | companies | firms | enterprises | businesses
employability | job readiness | work readiness
labour market | job market | labour demand | skills shortage
career guidance | careers advice | vocational guidance | career counselling
entrepreneurship | entrepreneurs | startups | self-employment | small businesses | SME
incubators | accelerators | coworking
social enterprise | social economy | cooperatives | social business
community learning centres | adult education centres | folk high school | kominkan | CLC
recognition of prior learning | validation of non-formal learning | validation of informal learning | RPL
microcredentials | micro-credentials | digital badges | open badges
elearning | online learning | distance learning | distance education | virtual learning | MOOC
digital skills | digital literacy | computer skills | ICT skills | digital inclusion | digital divide
smartphones | mobile phones | tablets
cybersecurity | online safety | online fraud | internet scams
disinformation | misinformation | fake news | media literacy
artificial intelligence | AI | machine learning
open data | data portal
open educational resources | OER
literacy | illiteracy | reading and writing
numeracy | arithmetic | mathematics | maths
basic skills | foundational skills
STEM | science education | science centre
library | libraries | librarians | reading rooms
bookmobile | mobile library
mentoring | mentors | coaching | tutoring
teachers | educators | instructors | trainers | schoolteachers
curriculum | curricula | syllabus
primary schools | elementary schools
secondary schools | high schools
inclusive education | special educational needs | learning difficulties
university | universities | higher education | tertiary education
elderly | older people | older adults | older persons | seniors | senior citizens | pensioners | retirees
population ageing | ageing society | demographic change | active ageing | healthy ageing
loneliness | social isolation | lonely
dementia | Alzheimer
long-term care | home care | elderly care | eldercare
intergenerational | grandparents
youth | young people | adolescents | teenagers
youth council | youth parliament | youth participation
pupils | schoolchildren
parents | mothers | fathers | parenting | caregivers
family learning | family literacy | parental involvement
migrants | immigrants | newcomers | migration
refugees | asylum seekers | displaced people | newcomers
migrant integration | social integration | integration of newcomers
language learning | language courses | second language | language cafe
intercultural | multicultural | cross-cultural | cultural diversity
ethnic minorities | indigenous peoples | minority groups
discrimination | racism | prejudice | xenophobia
multilingual | plurilingual | bilingual
disabled | disabilities | impairments
accessibility | barrier-free | universal design
deaf | hearing impaired | sign language
blind | visually impaired
disadvantaged | vulnerable | underprivileged | deprived | marginalised | underserved
social inclusion | social exclusion | social cohesion
poverty | low-income
homeless | homelessness | rough sleepers
affordable housing | social housing | public housing
informal settlements | slums
prisons | prisoners | inmates | offenders
gender equality | gender equity | women's empowerment
domestic violence | gender-based violence
volunteers | voluntary work
citizenship education | civic education | democracy education
citizen participation | public participation | civic engagement | citizen engagement | community participation
participatory budgeting | citizens budget
citizens assembly | deliberative democracy | mini-publics | citizen panel
co-creation | co-design | codesign | living lab
study circles | learning circles
makerspaces | fablabs | fab labs
museums | galleries
cultural heritage | intangible heritage | traditional culture | heritage conservation
historic buildings | monuments
crafts | handicrafts | artisans | craftspeople
creative industries | creative economy | cultural industries
festival | celebration
tourism | hospitality | sightseeing
arts | artists | performing arts
music | choir | orchestra
sports | physical activity | fitness
wellbeing | wellness
health literacy | health education | health promotion
mental health | psychological support | depression | suicide prevention
obesity | healthy eating | nutrition | diet
addiction | drug use | substance abuse
infectious diseases | epidemics | pandemics | COVID
climate change | global warming | climate action
climate adaptation | climate resilience
heatwaves | heat stress | extreme heat | urban heat island
floods | flooding | inundation | stormwater
drought | water scarcity | water shortage
rainwater harvesting | sponge city | rain gardens
drinking water | water supply | water quality
sanitation | sewage | wastewater | toilets | hygiene
coastal | seaside | marine | ocean
biodiversity | ecosystems | wildlife | nature conservation
forest | trees | woodland
parks | green spaces | urban greening
air pollution | air quality | smog
environmental education | sustainability education | education for sustainable development | ESD
recycling | circular economy | reuse | zero waste
waste | garbage | rubbish | refuse | trash | litter
waste separation | waste sorting | source separation
composting | organic waste | food waste
repair cafe | repair shop | upcycling
green skills | green jobs | green transition | green economy
renewable energy | solar power | wind power | clean energy | photovoltaic
energy efficiency | energy saving | energy poverty | building retrofit
carbon neutral | net zero | decarbonisation | low carbon
urban farming | urban agriculture | community gardens | allotments
farmers | agriculture | farming
fishers | fishermen | fisheries
cycling | bicycles | bikes
public transport | public transit | buses | trams
sustainable mobility | active travel | walkability
road safety | traffic safety
pedestrians | walking
disaster preparedness | disaster risk reduction | emergency preparedness
early warning | evacuation
earthquakes | seismic | tsunami
urban regeneration | urban renewal | revitalisation
shrinking cities | depopulation | population decline
vacant houses | empty houses | vacant buildings
public spaces | placemaking
neighbourhoods | districts | barangay
rural | villages | countryside
municipality | local government | local authority | city administration | town hall
civil servants | public officials | municipal staff
e-government | digital services | one-stop shop
NGO | non-governmental organisations | civil society organisations | nonprofit | charities
public-private partnership | PPP
funding | financing | grants
peace education | conflict resolution | reconciliation
human rights | children's rights
global citizenship | international understanding
"""
"""A group a line; a need that holds all words of one phrase is lent those of the others."""

Phrase = frozenset[str]

_PHRASES: tuple[tuple[Phrase, ...], ...] = tuple(
    tuple(dict.fromkeys(frozenset(count_terms(phrase)) for phrase in line.split("|")))
    for line in GROUPS.strip().splitlines()
)


def _openings() -> dict[str, tuple[tuple[Phrase, int], ...]]:
    """For each word of a phrase the phrases that it stands in, with the group that each opens."""
    found: dict[str, list[tuple[Phrase, int]]] = {}
    for number, group in enumerate(_PHRASES):
        for phrase in group:
            for word in phrase:
                found.setdefault(word, []).append((phrase, number))
    return {word: tuple(opened) for word, opened in found.items()}


_OPENINGS = _openings()

_SHARES = tuple(
    {term: max(1.0 / len(phrase) for phrase in group if term in phrase) for term in frozenset().union(*group)}
    for group in _PHRASES
)

WORDS = frozenset(_OPENINGS)
"""Only these terms are ever lent others."""


def lent(counts: Mapping[str, int]) -> dict[str, float]:
    """The terms that a need's terms stand for as well, each with a share from 0 to 1.

    A phrase of several words gives each of them its part, for one of them alone says less; the best share of
    a term counts, and the need's own terms are not among them.
    """
    own = counts.keys()
    opened = {
        number
        for term in own
        for phrase, number in _OPENINGS.get(term, ())
        if len(phrase) == 1 or phrase <= own
    }
    shares: dict[str, float] = {}
    for number in opened:
        for term, share in _SHARES[number].items():
            if term not in counts and share > shares.get(term, 0.0):
                shares[term] = share
    return shares
