# SPDX-License-Identifier: Apache-2.0
"""How often the rule for like-named cities is wrong: asked of the gazetteer itself, whose cities all differ.

    ./run bench city_names

A city that the gazetteer knows is told from every other by it. So that it says something of the many towns
that are too small for the table, each city is also taken as one that the gazetteer does not know, as if a
catalogue held all others: an upper bound, for a catalogue holds a few hundred. And each name is misspelled in
one letter, at every place but the first, to see how many slips are caught.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations

from twinning import gazetteer
from twinning.city_names import Named, is_same
from twinning.gazetteer import Place
from twinning.spelling import SHORTEST, fold

REGISTERED = 400
DRAWS = 200


class Unknown(Named):
    """A city that is not in the table."""

    places = frozenset()


def sharing(cities: list[Named]) -> Iterator[tuple[Named, Named]]:
    """Give the pairs that share a key: no other pair is ever looked at."""
    found: dict[str, list[Named]] = defaultdict(list)
    for city in cities:
        for key in city.found_by():
            found[key].append(city)
    pairs = {
        (id(one), id(other)): (one, other) for some in found.values() for one, other in combinations(some, 2)
    }
    yield from pairs.values()


def misspelled(name: str, dice: random.Random) -> str:
    """Change one letter of a name, not its first, into another one."""
    place = dice.randrange(1, len(name))
    letter = dice.choice([each for each in "abcdefghijklmnopqrstuvwxyz" if each != name[place].lower()])
    return name[:place] + letter + name[place + 1 :]


def share(hits: Sequence[bool]) -> str:
    """Write how many of some are so."""
    return f"{sum(hits) / len(hits):.1%}"


def main() -> None:
    """Print the figures."""
    dice = random.Random(1)
    places: list[Place] = list(gazetteer.places())
    located = [Named(place.name, place.country, place.point) for place in places]
    known = [Named(place.name, place.country) for place in places]
    unknown = [Unknown(place.name, place.country) for place in places]
    print(f"{len(places)} cities of {len({place.country for place in places})} countries\n")
    for title, cities in (
        ("they say where they lie", located),
        ("they do not, and the table knows them", known),
        ("they do not, and the table does not know them", unknown),
    ):
        refused = [(one, other) for one, other in sharing(cities) if is_same(one, other)]
        same = sum(fold(one.name) == fold(other.name) for one, other in refused)
        named = {id(city) for pair in refused for city in pair}
        print(f"{title}: {len(refused)} pairs taken for one, {same} of them of one name;")
        print(f"  {len(named) / len(places):.2%} of the cities would be refused if all others were there")
        wrong = {(id(one), id(other)) for one, other in refused}
        catalogues = [dice.sample(cities, REGISTERED) for _ in range(DRAWS)]
        ids = [{id(city) for city in some} for some in catalogues]
        hits = [sum(one in some and other in some for one, other in wrong) for some in ids]
        print(f"  in a catalogue of {REGISTERED}, drawn {DRAWS} times: {sum(hits) / DRAWS:.2f} pairs")
        examples = [f"{one.name}/{other.name}" for one, other in refused if one.name != other.name]
        print(f"  such as {', '.join(dice.sample(examples, min(6, len(examples))))}" if examples else "")
    letters = [place.name for place in places if place.name.isalpha() and place.name.isascii()]
    slips = [(name, misspelled(name, dice)) for name in letters]
    caught = [is_same(Named(name, "XX"), Unknown(slip, "XX")) for name, slip in slips]
    long = [hit for (name, _), hit in zip(slips, caught, strict=True) if len(name) >= SHORTEST]
    print(f"names of plain letters with one letter wrong, not the first: {share(caught)} are caught;")
    print(f"  of those with {SHORTEST} letters or more, {share(long)}")
    others = [(place, name) for place in places for name in place.other_names]
    met = [is_same(Named(name, place.country), Named(place.name, place.country)) for place, name in others]
    print(f"other names in the table: {share(met)} of {len(others)} lead to their city")


if __name__ == "__main__":
    main()
