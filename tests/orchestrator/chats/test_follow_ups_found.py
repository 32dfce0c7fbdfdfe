"""What follow-up questions find, with the built-in embedder, in texts that are easily taken for one another."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater.v1.chat_pb2 import CHAT_ROLE_USER, ChatMessage
from headwater.v1.document_pb2 import Document
from headwater.v1.retrieval_service_pb2 import CreateCorpusRequest, CreateDocumentRequest, WatchDocumentRequest
from headwater.v1.source_pb2 import RetrievalOptions
from headwater_server.interfaces import Retrieval
from headwater_server.orchestrator.searching.query import FollowUpQuery
from headwater_server.orchestrator.searching.sources import sources_of
from headwater_server.orchestrator.searching.turns_query import query_of_turns
from headwater_server.retrieval.config import RetrievalConfig
from headwater_server.retrieval.opening import open_retrieval
from tests.orchestrator.asking import ME

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

TEXTS = {
    "annual": "Annual leave. Full-time employees are entitled to 30 days of annual leave in each calendar year.",
    "annual-part-time": "Annual leave of part-time staff. It is in proportion to their working days in the week.",
    "annual-carry-over": "Annual leave that was not taken can be carried over until 31 March of the following year.",
    "annual-applying": "To apply for annual leave, enter the dates in the time portal; your supervisor approves them.",
    "annual-agency": "Annual leave of temporary workers. Agency workers get the leave that their agency grants.",
    "parental": "Parental leave. Parents are entitled to up to 36 months of parental leave for each child.",
    "parental-part-time": "Parental leave of part-time staff. They have the same parental leave as everyone.",
    "parental-applying": "Parental leave is applied for in writing, seven weeks before it begins, with the form P-7.",
    "parental-pay": "During parental leave no salary is paid; the state pays 67 percent of net income.",
    "parental-agency": "Temporary workers apply for parental leave with their agency.",
    "sick": "Sick leave. Report sick by telephone before nine o'clock on the first day.",
    "sick-certificate": "A doctor's certificate is needed from the third day of sick leave.",
    "sick-pay": "In case of sickness the salary is paid on for six weeks; then the health insurance pays.",
    "travel": "Business travel. Book trains and flights with the travel desk; economy is the rule.",
    "travel-hotel": "Hotels on business travel cost 120 euros a night at most, 160 in capitals.",
    "vpn-reset": "A forgotten VPN password is reset at the service desk, with your staff card.",
    "canteen": "The canteen serves lunch from half past eleven to two; vegetarian dishes every day.",
    "parking": "Parking spaces in the garage are given by the facility office.",
    "gym": "The gym in the basement is open to all staff from six to ten.",
    "pension": "Company pension. The company adds 20 percent to what employees pay into the pension fund.",
}
LEAVE = "How many days of annual leave do I get?"
PARENTAL = "How long is parental leave?"
SICK = "How do I report sick?"
TRAVEL = "How do I book a train for a business trip?"

FOLLOW_UPS = [
    ([LEAVE], "And for part-time staff?", "annual-part-time"),
    ([PARENTAL], "And for part-time staff?", "parental-part-time"),
    ([LEAVE], "What about temporary workers?", "annual-agency"),
    ([PARENTAL], "How do I apply for it?", "parental-applying"),
    ([LEAVE], "How do I apply for it?", "annual-applying"),
    ([LEAVE], "Can I carry them over?", "annual-carry-over"),
    ([PARENTAL], "Is it paid?", "parental-pay"),
    ([SICK], "Is it paid?", "sick-pay"),
    ([SICK], "When do I need a certificate?", "sick-certificate"),
    ([TRAVEL], "And hotels?", "travel-hotel"),
    ([PARENTAL, "And for part-time staff?"], "And how do they apply?", "parental-applying"),
]
CHANGES = [
    ([LEAVE], "How do I reset my VPN password?", "vpn-reset"),
    ([LEAVE, "And for part-time staff?"], "Where can I park my car?", "parking"),
    ([PARENTAL], "When is lunch served in the canteen?", "canteen"),
    ([TRAVEL], "Is there a gym?", "gym"),
    ([TRAVEL, "And hotels?"], "What is for lunch?", "canteen"),
    ([PARENTAL], "Pension", "pension"),
    ([SICK], "Parking?", "parking"),
]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def retrieval(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Retrieval]:
    """The texts, a document each, in the corpus `default`."""
    folder: Path = tmp_path_factory.mktemp("retrieval")
    async with open_retrieval(folder, RetrievalConfig(workers=1)) as opened:
        await opened.create_corpus(CreateCorpusRequest(corpus_id="default"), ME)
        for name, text in TEXTS.items():
            request = CreateDocumentRequest(
                parent="corpora/default",
                document_id=name,
                document=Document(media_type="text/plain"),
                content=text.encode(),
            )
            await opened.create_document(request, ME)
        for name in TEXTS:
            watch = WatchDocumentRequest(name=f"corpora/default/documents/{name}")
            async with aclosing(opened.watch_document(watch, ME)) as progress:
                await _exhaust(progress)
        yield opened


async def _exhaust(stream: AsyncGenerator[object]) -> None:
    async for _ in stream:
        pass


async def found(retrieval: Retrieval, earlier: Sequence[str], prompt: str, *, follow: bool) -> list[str]:
    """What a prompt finds after others, best first."""
    history = [ChatMessage(role=CHAT_ROLE_USER, text=text) for text in earlier]
    request = StreamAnswerRequest(prompt=prompt, history=history, retrieval=RetrievalOptions(top_k=8))
    query = query_of_turns(earlier, prompt) if follow else prompt
    made = None if query == prompt else FollowUpQuery(query, 0.0, beside_prompt=True)
    sources = await sources_of(request, retrieval, ME, made=made)
    return [source.document.rpartition("/")[2] for source in sources.found]


@pytest.mark.parametrize(("earlier", "prompt", "wanted"), FOLLOW_UPS)
async def test_a_follow_up_finds_what_it_is_about(
    retrieval: Retrieval, earlier: list[str], prompt: str, wanted: str
) -> None:
    assert wanted in (await found(retrieval, earlier, prompt, follow=True))[:3]


@pytest.mark.parametrize(("earlier", "prompt", "wanted"), CHANGES)
async def test_a_change_of_topic_is_not_dragged_back(
    retrieval: Retrieval, earlier: list[str], prompt: str, wanted: str
) -> None:
    assert wanted in (await found(retrieval, earlier, prompt, follow=True))[:3]


async def test_the_turns_before_make_follow_ups_find_more_than_they_would_alone(retrieval: Retrieval) -> None:
    def first(places: list[list[str]]) -> int:
        return sum(names[0] == wanted for names, (_, _, wanted) in zip(places, FOLLOW_UPS, strict=True))

    alone = [await found(retrieval, earlier, prompt, follow=False) for earlier, prompt, _ in FOLLOW_UPS]
    followed = [await found(retrieval, earlier, prompt, follow=True) for earlier, prompt, _ in FOLLOW_UPS]
    assert first(followed) >= 8
    assert first(followed) > first(alone)
