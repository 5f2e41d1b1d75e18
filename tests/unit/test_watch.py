# SPDX-License-Identifier: Apache-2.0
"""The watch: when it looks, that it outlives a look that fails, and how it ends."""

import queue
from collections.abc import Callable, Iterator

import pytest

from services.watch import Watch

# Far beyond what any step takes: whoever waits for so long waits in vain.
LONG_S = 30.0


class Post:
    """A look whose every call is told and answered by the test."""

    def __init__(self) -> None:
        self.begun: queue.Queue[str] = queue.Queue()
        self.answers: queue.Queue[bool | Exception] = queue.Queue()

    def look(self) -> bool:
        self.begun.put("look")
        answer = self.answers.get(timeout=LONG_S)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def end(self) -> None:
        self.begun.put("end")

    def told(self) -> str:
        """Wait for the next thing that the watch does."""
        return self.begun.get(timeout=LONG_S)


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
def watch(post: Post) -> Iterator[Callable[..., Watch]]:
    """Make watches that are started, and stopped after the test."""
    made = []

    def start(every_s: float = 0.0, rest_s: float = 0.0) -> Watch:
        made.append(Watch("test", post.look, every_s, rest_s=rest_s, at_the_end=post.end))
        made[-1].start()
        return made[-1]

    yield start
    for each in made:
        post.answers.put(False)
        each.stop(LONG_S)


def test_it_looks_at_once_and_when_it_is_woken(post: Post, watch: Callable[..., Watch]) -> None:
    """Without an interval a watch looks when it starts and once each time it is woken, never otherwise."""
    its = watch()
    for _ in range(3):
        assert post.told() == "look"
        post.answers.put(False)
        with pytest.raises(queue.Empty):
            post.begun.get(timeout=0.05)
        its.wake()


def test_who_is_woken_during_a_look_looks_again(post: Post, watch: Callable[..., Watch]) -> None:
    """What became due during a look, too late for it, is looked for by another."""
    its = watch()
    post.told()
    its.wake()
    post.answers.put(False)

    assert post.told() == "look"


def test_it_looks_again_after_the_interval(post: Post, watch: Callable[..., Watch]) -> None:
    """With an interval nobody need wake a watch."""
    watch(every_s=0.001)
    for _ in range(3):
        assert post.told() == "look"
        post.answers.put(False)


def test_it_looks_again_while_there_is_more(post: Post, watch: Callable[..., Watch]) -> None:
    """A look that found something is followed by another at once, however long the interval and the rest."""
    watch(every_s=LONG_S, rest_s=LONG_S)
    for _ in range(3):
        assert post.told() == "look"
        post.answers.put(True)


def test_a_look_that_fails_is_not_the_last(post: Post, watch: Callable[..., Watch]) -> None:
    """Whatever a look raises, the watch goes on."""
    its = watch()
    post.told()
    post.answers.put(RuntimeError("no database"))
    its.wake()

    assert post.told() == "look"


def test_it_ends_after_the_look_under_way(post: Post, watch: Callable[..., Watch]) -> None:
    """Whoever halts a watch does not wait; the look ends, no other begins, and the end comes last."""
    its = watch(every_s=0.001)
    post.told()
    its.halt()
    post.answers.put(True)

    assert post.told() == "end"
    its.stop(LONG_S)
    assert post.begun.empty()


def test_who_rests_is_not_woken_and_still_ends(post: Post, watch: Callable[..., Watch]) -> None:
    """A watch that rests after its look lets the bells ring, and hears that it is to stop."""
    its = watch(rest_s=LONG_S)
    post.told()
    its.wake()
    post.answers.put(False)
    with pytest.raises(queue.Empty):
        post.begun.get(timeout=0.05)
    its.stop(LONG_S)

    assert post.told() == "end"


def test_one_that_never_began_can_be_stopped(post: Post) -> None:
    """A process that fails before its watch has begun ends all the same."""
    Watch("test", post.look, 0.0).stop(LONG_S)

    assert post.begun.empty()
