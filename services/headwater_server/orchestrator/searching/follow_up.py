"""What to search for where a prompt follows other turns."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater.v1.chat_pb2 import CHAT_ROLE_USER
from headwater_server.interfaces import Assistants, Caller
from headwater_server.orchestrator.searching.condensing import Condenser
from headwater_server.orchestrator.searching.query import FollowUpQuery
from headwater_server.orchestrator.searching.sources import is_searched
from headwater_server.orchestrator.searching.turns_query import query_of_turns

FollowUpMode = Literal["turns", "assistant", "prompt"]


class FollowUps:
    """Makes queries of conversations.

    A prompt that follows others often says only what is new ("And for part-time staff?"), and finds nothing by itself.
    `turns` adds what it leaves out from the prompts before it, and searches for both; `assistant` asks the assistant to
    say the question as one that stands alone, and does as `turns` where that fails; `prompt` searches for the prompt as
    it is.

    Args:
        mode: Which of the three.
        assistants: The assistant service.
    """

    def __init__(self, mode: FollowUpMode, assistants: Assistants) -> None:
        self._mode = mode
        self._condenser = Condenser(assistants)

    async def query(self, request: StreamAnswerRequest, caller: Caller, *, assistant: str) -> FollowUpQuery | None:
        """The query of a request; None where nothing is searched, or nothing had to be made.

        Args:
            request: What is asked, with the conversation before it.
            caller: Who asks.
            assistant: The name of the assistant that will be asked.
        """
        if self._mode == "prompt" or not request.history or not is_searched(request):
            return None
        if request.retrieval.query.strip():
            return None
        start = time.monotonic()
        condensed = ""
        if self._mode == "assistant":
            condensed = await self._condenser.condensed(request, caller, assistant=assistant)
        made = condensed or query_of_turns(_prompts(request), request.prompt)
        text = "" if made == request.prompt else made
        return FollowUpQuery(text, time.monotonic() - start, beside_prompt=not condensed)


def _prompts(request: StreamAnswerRequest) -> Sequence[str]:
    return [message.text for message in request.history if message.role == CHAT_ROLE_USER]
