# SPDX-License-Identifier: Apache-2.0
"""The engine under scikit-learn's rules."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from services.matcher.engine.estimators import PivotedWeights, PracticeMatcher
from services.matcher.engine.index import MatchIndex
from services.matcher.engine.text import count_terms

PRACTICES = ["A reading festival for families", "Evening classes about computers", "", "River walks"]


@parametrize_with_checks([PivotedWeights()])
def test_pivoted_weights_pass_scikit_learns_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    """The transformer is one that scikit-learn itself accepts."""
    check(estimator)


def test_weights_are_those_of_the_index() -> None:
    """A need of one word scores each practice with just the weight that the transformer gives."""
    counter = CountVectorizer(analyzer=lambda text: sorted(count_terms(text)))
    table = make_pipeline(counter, PivotedWeights()).fit_transform(PRACTICES).toarray()
    index = MatchIndex([(place, "practice", None, count_terms(text)) for place, text in enumerate(PRACTICES)])
    index.put("need", "need", None, {"festiv": 1})

    (match,) = (found for found in index.rank("need") if found.practice == 0)

    [reach] = index.weighed(["need"])[2]
    assert match.first == pytest.approx(table[0, counter.vocabulary_["festiv"]] * reach, abs=1e-9)


def test_the_matcher_names_practices_by_their_place() -> None:
    """The best practice comes first, with both scores, and what shares no word does not come."""
    matcher = PracticeMatcher().fit(PRACTICES, needs=["computers"])

    (found, nothing) = matcher.match(["Who teaches computer classes?", "音楽"], top=2)

    assert [place for place, _, _ in found] == [1]
    assert found[0][1] >= found[0][2] > 0
    assert nothing == []
    assert matcher.n_practices_ == 4


def test_a_least_first_score_is_held() -> None:
    """What lies below `min_first` is left out; a clone keeps the parameter and forgets the practices."""
    matcher = clone(PracticeMatcher(min_first=np.inf)).fit(PRACTICES)

    assert matcher.match(["computer classes"]) == [[]]
    with pytest.raises(NotFittedError):
        clone(matcher).match(["computer classes"])
