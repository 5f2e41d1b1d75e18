# SPDX-License-Identifier: Apache-2.0
"""The engine as scikit-learn estimators, for notebooks, pipelines and comparisons.

They keep scikit-learn's rules: a constructor only stores parameters, and what is learned ends in ``_``.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from services.matcher.engine.index import MatchIndex
from services.matcher.engine.store import NEED, PRACTICE
from services.matcher.engine.text import count_terms
from services.matcher.engine.weights import SATURATION, SLOPE


class PivotedWeights(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Term counts to the weights of practices: saturated, and divided by a length pivoted about the mean.

    Takes and gives a matrix of shape (texts, terms), dense or sparse, never negative.
    """

    def __init__(self, *, saturation: float = SATURATION, slope: float = SLOPE) -> None:
        self.saturation = saturation
        self.slope = slope

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = True
        return tags

    def fit(self, X: ArrayLike, y: None = None) -> Self:  # noqa: N803 scikit-learn's name
        """Learn the mean length of the texts."""
        del y  # Texts have no target; pipelines hand one over all the same.
        self.mean_norm_ = float(self._norms(self._saturated(X, reset=True)).mean())
        return self

    def transform(self, X: ArrayLike) -> Any:  # noqa: N803 scikit-learn's name
        """Weigh texts, these or others, against the mean length that was learned."""
        check_is_fitted(self)
        values = self._saturated(X, reset=False)
        scale = 1.0 / ((1.0 - self.slope) * self.mean_norm_ + self.slope * self._norms(values))
        values.data *= np.repeat(scale, np.diff(values.indptr))
        return values if issparse(X) else values.toarray()

    def _saturated(self, X: ArrayLike, *, reset: bool) -> csr_array:  # noqa: N803 scikit-learn's name
        """The counts, checked, each x as x / (x + saturation)."""
        checked = validate_data(
            self, X, reset=reset, accept_sparse="csr", dtype=np.float64, ensure_non_negative=True
        )
        values = csr_array(checked, copy=True)
        values.eliminate_zeros()
        values.data /= values.data + self.saturation
        return values

    @staticmethod
    def _norms(values: csr_array) -> NDArray[np.float64]:
        """The length of each row; 1 for an empty one."""
        norms = np.sqrt(np.asarray(values.multiply(values).sum(axis=1), np.float64).ravel())
        norms[norms == 0.0] = 1.0
        return norms


class PracticeMatcher(BaseEstimator):  # type: ignore[misc]
    """Finds the practices that answer a need: the index behind one `fit` and one `match`.

    Needs given to `fit` lend their words to the document frequencies; those given to `match` are taken one at
    a time, as if each were registered for a moment.
    """

    def __init__(self, *, min_first: float = 0.0) -> None:
        self.min_first = min_first

    def fit(self, practices: Iterable[str], needs: Iterable[str] | None = None) -> Self:
        """Index the practices, each a text; its place is its name in what `match` gives."""
        texts = [("practice", PRACTICE, practices), ("need", NEED, needs or ())]
        self.index_ = MatchIndex(
            ((name, place), kind, None, count_terms(text))
            for name, kind, several in texts
            for place, text in enumerate(several)
        )
        self.n_practices_ = len(self.index_.keys(PRACTICE))
        return self

    def match(self, needs: Iterable[str], top: int | None = 10) -> list[list[tuple[int, float, float]]]:
        """For each need the places of the best practices with T3, which ranks them, and T1."""
        check_is_fitted(self)
        return [self._best(need, top) for need in needs]

    def _best(self, need: str, top: int | None) -> list[tuple[int, float, float]]:
        found = self.index_.rank_counts(count_terms(need), limit=top, floor=self.min_first)
        places: Sequence[Any] = [match.practice for match in found]
        return [(place, match.score, match.first) for (_, place), match in zip(places, found, strict=True)]
