"""How likely a passage is to be about a query, from the cosine of their vectors.

What a cosine means depends on the embedder: 0.5 is near for one model and far for another. A calibration turns it into
the share of passages that judges called relevant at that cosine. It looks at nothing but the pair, so it can be
compared between queries and corpora, and a threshold means the same everywhere.

How much of the query's words the passage has would add a little within a collection (an area under the curve of .92
instead of .91 on Cranfield, .84 instead of .82 on CISI), but what was fitted on one then fits the other worse than the
cosine alone does: the logarithmic loss rises by 2 % on CISI and 16 % on Cranfield. So the cosine stands alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

_NEVER = 2.0  # no cosine is as high


class Calibration(Protocol):
    """From cosines to relevance, and back; both never fall where their argument grows."""

    def relevance(self, cosine: float) -> float:
        """The relevance, 0 to 1, of a passage with this cosine, −1 to 1."""
        ...

    def least_cosine(self, relevance: float) -> float | None:
        """The least cosine of passages at least so relevant; None where all are."""
        ...


@dataclass(frozen=True, slots=True)
class Logistic:
    """A logistic curve, fitted to judgements (Platt, "Probabilistic Outputs for Support Vector Machines", 1999)."""

    slope: float
    """How much a cosine of 1 more adds to the logarithm of the odds."""
    middle: float
    """The cosine at which one of two passages is relevant."""

    def relevance(self, cosine: float) -> float:
        """See `Calibration`."""
        return 1.0 / (1.0 + math.exp(-self.slope * (cosine - self.middle)))

    def least_cosine(self, relevance: float) -> float | None:
        """See `Calibration`."""
        if relevance <= 0.0:
            return None
        if relevance >= 1.0:
            return _NEVER
        return self.middle + math.log(relevance / (1.0 - relevance)) / self.slope


@dataclass(frozen=True, slots=True)
class Uncalibrated:
    """The cosine itself, where nobody has judged passages of the embedder; a negative one is 0."""

    def relevance(self, cosine: float) -> float:
        """See `Calibration`."""
        return min(max(cosine, 0.0), 1.0)

    def least_cosine(self, relevance: float) -> float | None:
        """See `Calibration`."""
        return None if relevance <= 0.0 else relevance


MINILM = Logistic(slope=10.24, middle=0.7256)
"""all-MiniLM-L6-v2; fitted by `python -m benchmarks.retrieval_quality --calibration`, which shows how well it fits."""

_CALIBRATIONS = {"builtin/all-MiniLM-L6-v2": MINILM}
_UNCALIBRATED = Uncalibrated()


def calibration_of(embedder: str) -> Calibration:
    """The calibration of an embedder, `provider/model`."""
    return _CALIBRATIONS.get(embedder, _UNCALIBRATED)
