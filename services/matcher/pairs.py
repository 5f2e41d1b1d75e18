# SPDX-License-Identifier: Apache-2.0
"""What a suggestion that is on no list would be now: the same cities, looked at again."""

from services.matcher.engine.corpus import Corpus
from services.matcher.engine.pairing import Pair, study_visits_for, twinnings_for
from services.matcher.engine.seminars import seminar
from twinning.suggestions import Suggestion, cities_of
from twinning.terms import CityRole, Region, SuggestionKind


def pair_between(corpus: Corpus, row: Suggestion) -> Pair | None:
    """Find what brings a suggestion's cities together in the present catalogue; None when nothing is left."""
    ids = [city_id for city_id, _ in cities_of(row)]
    if not all(corpus.knows(city_id) for city_id in ids):
        return None
    if row.kind == SuggestionKind.SEMINAR:
        found = _seminar_again(corpus, row)
    else:
        # A round may have brought cities of one region together; so may this look.
        regions = {Region(corpus.city(city_id).region) for city_id in ids}
        finder, learner = (
            (study_visits_for, ids[1]) if row.kind == SuggestionKind.STUDY_VISIT else (twinnings_for, ids[0])
        )
        pairs = finder(corpus, learner, None, row.min_band, len(regions) > 1)
        found = next((pair for pair in pairs if set(pair.cities) == set(ids)), None)
    return found if found and set(found.cities) == set(ids) else None


def _seminar_again(corpus: Corpus, row: Suggestion) -> Pair | None:
    """Find a seminar anew: the same hosts, about those needs of its cluster that are still there."""
    hosts = {city["city_id"] for city in row.cities if city["role"] == CityRole.HOST}
    regions = {city["city_id"]: city["region"] for city in row.cities}
    crossing = all(regions[why["need_city_id"]] != regions[why["practice_city_id"]] for why in row.reasons)
    needs = {why["need_id"] for why in row.reasons}
    return seminar(corpus, hosts, needs, row.min_band, crossing)
