"""Parsers of streams, of the log's files, of tokens and names: a sample of `python -m tests.malformed --parsers`."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.malformed.attack import Damage
from tests.malformed.parsers import PARSERS, run


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.__name__)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(chance=st.randoms(use_true_random=False))
def test_parsers_keep_their_promises(
    parser: Callable[[random.Random, Path], None], chance: random.Random, tmp_path: Path
) -> None:
    parser(chance, tmp_path)


def test_many_inputs_by_a_seed() -> None:
    damage = Damage()
    run(7_000, seed=20261123, damage=damage)
    assert not damage.wrong, damage.wrong[:20]
