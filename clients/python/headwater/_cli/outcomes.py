"""How an answer ended, in words."""

from __future__ import annotations

from headwater._enums import AbstainReason, AnswerState, FinishReason
from headwater.v1 import answer_pb2

_ABSTAINED = {
    AbstainReason.NO_SOURCES: "Nothing was found that could answer this.",
    AbstainReason.LOW_RELEVANCE: "What was found does not answer this.",
    AbstainReason.ASSISTANT_DECLINED: "The assistant found no answer to this in the sources.",
}
_CUT_SHORT = {
    FinishReason.MAX_TOKENS: "the answer ends here, because it reached the limit of its length",
    FinishReason.CONTEXT_LIMIT: "the answer ends here, because the model's context is full",
    FinishReason.TIME_LIMIT: "the answer ends here, because its time was up",
    FinishReason.CONTENT_FILTER: "the provider withheld the rest of the answer",
    FinishReason.CANCELLED: "the answer was stopped",
    FinishReason.UPSTREAM_UNKNOWN: "the provider ended without saying why, so the answer may be incomplete",
}
_STATES = {
    AnswerState.RUNNING: "running",
    AnswerState.SUCCEEDED: "done",
    AnswerState.FAILED: "failed",
    AnswerState.CANCELLED: "stopped",
}


def state(answer: answer_pb2.Answer) -> str:
    """Whether an answer runs, and how it ended, in a word."""
    if FinishReason(answer.finish_reason) is FinishReason.ABSTAINED:
        return "abstained"
    return _STATES.get(AnswerState(answer.state), "unknown")


def abstention(answer: answer_pb2.Answer) -> str:
    """What an answer that abstains says instead of a text."""
    return _ABSTAINED.get(AbstainReason(answer.abstain_reason), "The assistant did not answer this.")


def ending(answer: answer_pb2.Answer) -> str:
    """Why an answer's text is not all there is to say, in one line. Empty: it is."""
    match AnswerState(answer.state):
        case AnswerState.RUNNING:
            return "the answer is still being written"
        case AnswerState.FAILED:
            return f"the answer failed: {answer.error.message}"
    return _CUT_SHORT.get(FinishReason(answer.finish_reason), "")
