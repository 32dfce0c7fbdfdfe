"""A loss of power at any moment costs nothing that was acknowledged."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from tests.power_loss.cutting import Recording, after_cut, moments, record
from tests.power_loss.recording import COMPILER, Op

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the recorder is preloaded, as Linux does it"),
    pytest.mark.skipif(COMPILER is None, reason="there is no C compiler to make the recorder with"),
]

SEED = 20
CUTS = 10


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return record(tmp_path_factory.mktemp("recording"), seed=SEED)


def test_nothing_acknowledged_is_lost_wherever_the_power_is_cut(recording: Recording, tmp_path: Path) -> None:
    found = {
        moment: after_cut(recording, moment, seed=SEED, target=tmp_path / str(number))
        for number, moment in enumerate(moments(recording, seed=SEED, cuts=CUTS))
    }
    assert not {moment: wrong for moment, wrong in found.items() if wrong}


@pytest.mark.parametrize("what", ["catalog.sqlite-wal", "contents"])
def test_the_simulation_notices_what_is_not_synced(recording: Recording, tmp_path: Path, what: str) -> None:
    """Without the syncs of one part, which is as if the service had forgotten them, something is lost."""
    forgetful = dataclasses.replace(
        recording,
        records=[each for each in recording.records if each.op is not Op.SYNCED or what not in each.path],
    )
    for number, moment in enumerate(moments(forgetful, seed=SEED, cuts=2 * CUTS)[1::2]):
        if after_cut(forgetful, moment, seed=SEED, target=tmp_path / str(number)):
            return
    pytest.fail("no cut has lost anything")
