"""The other processes that make answers of the same log, as the orchestrator sees them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from headwater.v1 import answer_pb2
from headwater.v1.answer_service_pb2 import CancelAnswerRequest, ResumeAnswerRequest
from headwater_server.interfaces import Caller
from headwater_server.orchestrator.answer_log.protocol import AnswerRecord


class SiblingGoneError(Exception):
    """A sibling could not be reached, broke off, or does not make the answer (any more): look for it anew."""


class Siblings(Protocol):
    """Processes that share a log with this one, each with answers of its own.

    A sibling that is asked here never asks another: where it does not make the answer, that is `SiblingGoneError`.
    """

    @property
    def me(self) -> str:
        """This process, as the owner of answers."""
        ...

    def is_alive(self, owner: str) -> bool:
        """Whether the process lives that owns answers under this name."""
        ...

    async def orphans(self) -> Sequence[AnswerRecord]:
        """The answers of siblings that have died, which are this process's from now on.

        Raises:
            AnswerLogError: The log cannot be written.
        """
        ...

    def resume(
        self, request: ResumeAnswerRequest, caller: Caller, *, owner: str
    ) -> AsyncGenerator[answer_pb2.AnswerChunk]:
        """The events of an answer, as `ResumeAnswer` of its owner gives them; closing it is a disconnect.

        Raises:
            SiblingGoneError: The owner is gone, or has given the answer up.
            ServiceError: What the owner says.
        """
        ...

    async def cancel(self, request: CancelAnswerRequest, caller: Caller, *, owner: str) -> answer_pb2.Answer:
        """Has an answer stopped by its owner, and returns it as it ended.

        Raises:
            SiblingGoneError: As `resume`.
            ServiceError: What the owner says.
        """
        ...
