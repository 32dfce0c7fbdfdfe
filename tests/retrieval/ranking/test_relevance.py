from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.retrieval.embedding.config import BUILTIN_EMBEDDER
from headwater_server.retrieval.ranking.relevance import MINILM, Uncalibrated, calibration_of

COSINES = st.floats(min_value=-1, max_value=1)
CALIBRATIONS = pytest.mark.parametrize("calibration", [MINILM, Uncalibrated()])


def test_the_built_in_embedder_has_a_calibration_and_others_have_their_cosine() -> None:
    assert calibration_of(BUILTIN_EMBEDDER) is MINILM
    assert calibration_of("openai/text-embedding-3-small").relevance(0.25) == 0.25
    assert calibration_of("openai/text-embedding-3-small").relevance(-0.25) == 0.0


@CALIBRATIONS
@given(one=COSINES, other=COSINES)
def test_relevance_never_falls_where_the_cosine_grows(calibration: Uncalibrated, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0.0 <= calibration.relevance(low) <= calibration.relevance(high) <= 1.0


@CALIBRATIONS
@given(cosine=COSINES, relevance=st.floats(min_value=0.001, max_value=0.999))
def test_the_least_cosine_parts_what_is_relevant_enough_from_the_rest(
    calibration: Uncalibrated, cosine: float, relevance: float
) -> None:
    least = calibration.least_cosine(relevance)
    assert least is not None
    if cosine >= least + 1e-9:
        assert calibration.relevance(cosine) >= relevance
    elif cosine < least - 1e-9:
        assert calibration.relevance(cosine) < relevance


@CALIBRATIONS
def test_no_relevance_and_less_are_no_limit_and_certainty_is_never_reached(calibration: Uncalibrated) -> None:
    assert calibration.least_cosine(0.0) is None
    assert calibration.least_cosine(-1.0) is None
    assert (MINILM.least_cosine(1.0) or 0.0) > 1.0
