"""A sample of what `python -m tests.malformed` does, on a real server."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.malformed import attack, calls
from tests.malformed.attack import Damage
from tests.malformed.attacked import Attacked

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.usefixtures("each_front"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks at a server's memory by way of /proc"),
]

SEED = 20261123
CALLS = 3_000
FRAMES = 1_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, each_front: str) -> Iterator[Attacked]:
    """A server for all attacks, one after another; at the end nobody beside them has noticed anything."""
    damage = Damage()
    with attack.under_watch(tmp_path_factory.mktemp(f"attacked-{each_front}"), damage) as attacked:
        yield attacked
    assert not damage.wrong, damage.wrong[:20]


async def test_no_malformed_call_ends_unknown_or_internal_or_is_taken_for_a_good_one(server: Attacked) -> None:
    damage = Damage()
    await attack.malformed_calls(server, CALLS, seed=SEED, damage=damage)
    assert not damage.wrong, damage.wrong[:20]


async def test_odd_frames_end_their_own_call_or_connection_and_no_other(server: Attacked) -> None:
    damage = Damage()
    assert await attack.odd_frames(server, seed=SEED, damage=damage) > 80
    assert not damage.wrong, damage.wrong


async def test_floods_are_survived(server: Attacked) -> None:
    assert await attack.floods(server, FRAMES, damage=Damage()) > FRAMES


def test_a_run_can_be_repeated_by_its_seed() -> None:
    first, again, other = (calls.call(7, seed=seed, token="t") for seed in (1, 1, 2))
    assert first == again != other
