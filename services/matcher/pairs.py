# SPDX-License-Identifier: Apache-2.0
"""What a suggestion that is on no list would be now: the same two cities, looked at again."""

from services.matcher.engine.corpus import Corpus
from services.matcher.engine.pairing import Pair, study_visits_for, twinnings_for
from twinning.suggestions import Suggestion, cities_of
from twinning.terms import Region, SuggestionKind


def pair_between(corpus: Corpus, row: Suggestion) -> Pair | None:
    """Find the pair of a suggestion's cities in the present catalogue; None when nothing is left of it."""
    ids = [city_id for city_id, _ in cities_of(row)]
    if not all(corpus.knows(city_id) for city_id in ids):
        return None
    # A round may have brought cities of one region together; so may this look.
    regions = {Region(corpus.city(city_id).region) for city_id in ids}
    finder, learner = (
        (study_visits_for, ids[1]) if row.kind == SuggestionKind.STUDY_VISIT else (twinnings_for, ids[0])
    )
    pairs = finder(corpus, learner, None, row.min_band, len(regions) > 1)
    return next((pair for pair in pairs if set(pair.cities) == set(ids)), None)
