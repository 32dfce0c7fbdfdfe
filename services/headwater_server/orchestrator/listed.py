"""Answers as lists give them."""

from __future__ import annotations

from headwater.v1 import answer_pb2


def clear_contents(answer: answer_pb2.Answer) -> None:
    """Takes the texts of its sources out of an answer: a page of answers would be too large with them."""
    for source in answer.sources:
        source.ClearField("content")
