"""Fits the relevance of a source to judgements, and shows how well it holds where it was not fitted.

All pairs of a question and a passage count, so that a relevance of .3 means: of the passages with such a cosine, three
of ten were judged relevant. The collections weigh the same, whatever their size. `retrieval_quality` runs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.ir_collections import Collection
from headwater_server.retrieval.ranking.relevance import MINILM, Logistic

Column = npt.NDArray[np.float64]

EDGES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
THRESHOLDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)


def pairs(collection: Collection) -> tuple[Column, Column]:
    """The cosines of all pairs, and whether each was judged relevant; one row a question."""
    cosines = (collection.query_vectors @ collection.vectors.T).astype(np.float64)
    judged = np.zeros_like(cosines)
    rows = {identity: row for row, identity in enumerate(collection.ids)}
    for number, relevant in enumerate(collection.relevant):
        judged[number, [rows[identity] for identity in relevant if identity in rows]] = 1.0
    return cosines, judged


def fit(samples: Sequence[tuple[Column, Column]]) -> Logistic:
    """The logistic curve of most likelihood, each sample with the same weight; by Newton's method."""
    cosines = np.concatenate([each.ravel() for each, _ in samples])
    judged = np.concatenate([each.ravel() for _, each in samples])
    weights = np.concatenate([np.full(each.size, 1.0 / each.size) for each, _ in samples])
    features = np.stack([cosines, np.ones_like(cosines)])
    found = np.array([5.0, -5.0])
    for _ in range(100):
        likely = 1.0 / (1.0 + np.exp(-found @ features))
        gradient = features @ (weights * (likely - judged))
        curvature = (features * (weights * likely * (1.0 - likely))) @ features.T
        step = np.linalg.solve(curvature, gradient)
        found -= step
        if float(np.abs(step).max()) < 1e-9:
            break
    return Logistic(slope=float(found[0]), middle=float(-found[1] / found[0]))


def loss(calibration: Logistic, sample: tuple[Column, Column]) -> float:
    """The mean logarithmic loss."""
    cosines, judged = sample
    likely = relevance(calibration, cosines)
    return float(-np.mean(judged * np.log(likely) + (1 - judged) * np.log(1 - likely)))


def relevance(calibration: Logistic, cosines: Column) -> Column:
    likely: Column = 1.0 / (1.0 + np.exp(-calibration.slope * (cosines - calibration.middle)))
    return likely


def figures(collections: Sequence[Collection]) -> Mapping[str, Any]:
    """All that the page shows of it."""
    samples = {collection.name: pairs(collection) for collection in collections}
    fitted = fit(list(samples.values()))
    return {
        "slope": fitted.slope,
        "middle": fitted.middle,
        "across": {
            name: {
                "own": loss(fit([sample]), sample),
                "other": loss(fit([each for other, each in samples.items() if other != name]), sample),
                "shipped": loss(MINILM, sample),
                "halves": loss(fit([(each[::2], which[::2]) for each, which in [sample]]), _odd(sample)),
            }
            for name, sample in samples.items()
        },
        "reliability": [
            {"from": low, "to": high, **{name: _share(sample, low, high) for name, sample in samples.items()}}
            for low, high in pairwise(EDGES)
        ],
        "thresholds": [
            {"min_score": least, **{name: _at(sample, least) for name, sample in samples.items()}}
            for least in THRESHOLDS
        ],
    }


def _odd(sample: tuple[Column, Column]) -> tuple[Column, Column]:
    return sample[0][1::2], sample[1][1::2]


def _share(sample: tuple[Column, Column], low: float, high: float) -> Mapping[str, float]:
    """Of the pairs in a range of relevance: their mean relevance, the share judged relevant, and how many they are."""
    likely, judged = relevance(MINILM, sample[0]), sample[1]
    inside = (likely >= low) & (likely < high)
    count = int(inside.sum())
    if not count:
        return {"estimated": 0.0, "judged": 0.0, "pairs": 0}
    return {"estimated": float(likely[inside].mean()), "judged": float(judged[inside].mean()), "pairs": count}


def _at(sample: tuple[Column, Column], least: float) -> Mapping[str, float]:
    """What a threshold keeps: of the relevant passages, of those that are not, and how many a question."""
    kept = relevance(MINILM, sample[0]) >= least
    judged = sample[1] > 0
    return {
        "relevant_kept": float((kept & judged).sum() / judged.sum()),
        "others_kept": float((kept & ~judged).sum() / (~judged).sum()),
        "passages": float(kept.sum(axis=1).mean()),
    }
