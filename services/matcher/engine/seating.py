# SPDX-License-Identifier: Apache-2.0
"""Seating: which seminars take place when every city has only so much room, in any role.

First that as many as can learn somewhere do, then the largest total score. Seminars are sets of up to eight
cities, and to choose among sets is hard in general (set packing), so the choice is searched for by Google
OR-tools' CP-SAT and mostly proven to be the best. A search ends after so many steps by its own count, never
by the clock: the same seminars give the same choice on any machine.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ortools.sat.python import cp_model

from services.matcher.engine.assignment import UNITS
from services.matcher.engine.gathering import Gathering, order

STEPS = 5.0
"""How long either search may take, in CP-SAT's own measure of work: about so many seconds."""

Limit = tuple[list[int], int]
"""Seminars by their places, and how many of them may take place at most."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """A city is in `per_city` seminars at most; where it states visits a year, these limit its hosting."""

    per_city: int
    stated: Mapping[Hashable, int]

    def limits(self, seminars: Sequence[Gathering]) -> dict[tuple[Hashable, bool], Limit]:
        """The limit of each city, and apart of its hosting where it states one."""
        found: dict[tuple[Hashable, bool], Limit] = {}
        for place, one in enumerate(seminars):
            for city in one.cities:
                hosting = city in self.stated and city in one.hosts
                most = self.stated[city] if hosting else self.per_city
                found.setdefault((city, hosting), ([], most))[0].append(place)
        return found

    def crowded(self, seminars: Sequence[Gathering]) -> frozenset[Hashable]:
        """The cities that cannot be in all of these."""
        limits = self.limits(seminars).items()
        return frozenset(city for (city, _), (places, most) in limits if len(places) > most)


@dataclass(frozen=True, slots=True)
class Seating:
    """The seminars that take place, best first, and how far this can be from the best choice, as a share.

    The gap is 0 where no choice is better. Else it is the larger of two: of the cities that learn, and of
    the total score of choices by which as many do.
    """

    chosen: list[Gathering]
    gap: float


def seat(candidates: Iterable[Gathering], learners: Collection[Hashable], rooms: Rooms) -> Seating:
    """Which of the candidates take place: a need is in one of them at most, and nobody beyond its room.

    As many of the `learners` as possible learn somewhere; among all such choices one with the largest total.
    """
    scope = frozenset(learners)
    wanted = (one for one in sorted(candidates, key=_order) if scope & one.learners.keys())
    seminars = list({(one.hosts, one.needs): one for one in wanted}.values())
    search = _Search(seminars, scope, _tight(seminars, rooms))
    gap = max(search.serve_most(), search.total_most())
    return Seating([one for one, held in zip(seminars, search.best, strict=True) if held], gap)


def _order(one: Gathering) -> tuple[object, ...]:
    """The best first, and a place of its own for each."""
    return *order(one), *(sorted(map(str, keys)) for keys in (one.hosts, one.needs))


def _tight(seminars: Sequence[Gathering], rooms: Rooms) -> list[Limit]:
    """The limits that can be reached: those of cities, and once for each need and each set of cities."""
    once: dict[Hashable, list[int]] = {}
    for place, one in enumerate(seminars):
        for key in (one.cities, *sorted(one.needs, key=str)):
            once.setdefault(key, []).append(place)
    limits = [*rooms.limits(seminars).values(), *((places, 1) for places in once.values())]
    return [limit for limit in limits if len(limit[0]) > limit[1]]


class _Search:
    """A model in which each seminar takes place or not, and the best choice so far."""

    def __init__(
        self, seminars: Sequence[Gathering], scope: frozenset[Hashable], limits: list[Limit]
    ) -> None:
        self._worth = [round(one.score * UNITS) for one in seminars]
        self._model = cp_model.CpModel()
        self._held = [self._model.new_bool_var("") for _ in seminars]
        for places, most in limits:
            self._model.add(sum(self._held[place] for place in places) <= most)
        by_learner: dict[Hashable, list[int]] = {}
        for place, one in enumerate(seminars):
            for city in sorted(scope & one.learners.keys(), key=str):
                by_learner.setdefault(city, []).append(place)
        self._lists = list(by_learner.values())
        self._served = [self._model.new_bool_var("") for _ in self._lists]
        for served, places in zip(self._served, self._lists, strict=True):
            self._model.add(sum(self._held[place] for place in places) >= served)
        self._limits = limits
        self.best = [False] * len(seminars)
        self._fill()

    def _fill(self) -> None:
        """Add to the best choice so far what still fits, the best seminars first: where a search begins."""
        room = [most - sum(self.best[place] for place in places) for places, most in self._limits]
        bounds: list[list[int]] = [[] for _ in self.best]
        for number, (places, _) in enumerate(self._limits):
            for place in places:
                bounds[place].append(number)
        for place, held in enumerate(self.best):
            if not held and all(room[number] > 0 for number in bounds[place]):
                self.best[place] = True
                for number in bounds[place]:
                    room[number] -= 1

    def serve_most(self) -> float:
        """Let as many learn as can, and hold later choices to that; gives the gap that is left."""
        aim = cp_model.LinearExpr.sum(self._served)
        gap = self._improve(aim, self._number_served, len(self._served))
        self._model.add(sum(self._served) >= self._number_served())
        return gap

    def total_most(self) -> float:
        """Find the largest total; gives the gap that is left."""
        self._fill()
        aim = cp_model.LinearExpr.weighted_sum(self._held, self._worth)
        return self._improve(aim, self._total, sum(self._worth))

    def _number_served(self) -> int:
        return sum(any(self.best[place] for place in places) for places in self._lists)

    def _total(self) -> int:
        return sum(worth for worth, held in zip(self._worth, self.best, strict=True) if held)

    def _improve(self, aim: cp_model.LinearExprT, reached: Callable[[], int], most: float) -> float:
        """Search for a choice with more of an aim, from the best so far on; gives the gap that is left."""
        self._model.clear_hints()  # type: ignore[no-untyped-call]
        for variable, held in zip(self._held, self.best, strict=True):
            self._model.add_hint(variable, held)
        self._model.maximize(aim)
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = 0
        # All constraints as a linear programme: sets that share cities are bounded by little else.
        solver.parameters.linearization_level = 2
        solver.parameters.max_deterministic_time = STEPS
        status = solver.solve(self._model)
        if status in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
            least, before = reached(), self.best
            self.best = [solver.boolean_value(one) for one in self._held]
            if reached() < least:
                self.best = before
            most = min(most, solver.best_objective_bound)
        if status == cp_model.OPTIMAL:
            return 0.0
        return max(0.0, 1.0 - reached() / most) if most > 0.0 else 0.0
