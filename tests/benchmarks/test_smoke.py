"""The comparison of `make bench-smoke` fails when relaying has become dearer, and only then."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks import smoke

ALONE, BURST = smoke.LOADS
RECORDED = {ALONE: 0.8, BURST: 0.2}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, float]], int]:
    """Runs the program with what it would measure, and returns its exit code."""

    def run(measured: dict[str, float]) -> int:
        monkeypatch.setattr("sys.argv", ["smoke"])
        monkeypatch.setattr("shutil.which", lambda _: "go")
        monkeypatch.setattr(smoke, "measure", lambda: measured)
        monkeypatch.setattr(smoke, "kept", lambda: RECORDED)
        return smoke.main()

    return run


@pytest.mark.parametrize("dearer", [ALONE, BURST])
def test_a_token_that_costs_far_more_than_it_did_fails(
    dearer: str, run: Callable[[dict[str, float]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run({**RECORDED, dearer: RECORDED[dearer] * smoke.MARGIN * 1.01}) == 1
    assert f"{dearer} costs" in capsys.readouterr().err


@pytest.mark.parametrize("times", [0.1, 1.0, smoke.MARGIN * 0.99])
def test_what_costs_less_or_a_little_more_passes(times: float, run: Callable[[dict[str, float]], int]) -> None:
    assert run({name: ratio * times for name, ratio in RECORDED.items()}) == 0


def test_a_ratio_that_is_no_number_fails(run: Callable[[dict[str, float]], int]) -> None:
    assert run({**RECORDED, BURST: float("nan")}) == 1


def test_what_was_never_recorded_cannot_pass() -> None:
    with pytest.raises(ValueError, match="record them anew"):
        smoke.dearer(RECORDED, {ALONE: 0.8})


def test_there_is_a_record_of_all_that_is_compared() -> None:
    assert smoke.kept().keys() == smoke.LOADS.keys()
    assert all(0.0 < ratio < 3.0 for ratio in smoke.kept().values())


def test_without_go_it_is_skipped_with_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["smoke"])
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert smoke.main() == 0
    assert capsys.readouterr().out == "bench-smoke: skipped, there is no go command here\n"
