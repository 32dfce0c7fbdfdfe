"""Arguments of the wrong type, and text that UTF-8 cannot hold, are refused by name in both clients."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from headwater import ArgumentError, AsyncClient, Chat, Client, Limits, field
from headwater._chat_requests import create_chat_request, update_chat_request
from headwater._requests import answer_request, cancel_request, retrieval_options
from headwater._updates import create_corpus_request, update_corpus_request, update_document_request
from headwater._uploads import create_document_request, import_header, new_document, open_content

LONE = "a\udcff"
NOWHERE = "127.0.0.1:1"

Call = Callable[[Any], Any]
"""What to call on a client of either kind. Nothing listens there, so what is not refused is a `CallError`."""

CASES: list[tuple[Call, str]] = [
    (lambda client: client.answer(LONE), "prompt is a string without lone surrogates"),
    (lambda client: client.answer(123), "prompt is a string, not int: 123"),
    (lambda client: client.answer(None), "prompt is a string, not NoneType"),
    (lambda client: client.answer(b"why"), "prompt is a string, not bytes"),
    (lambda client: client.answer("q", corpus=["handbook"]), "corpus is one name .* use corpora=.*not list"),
    (lambda client: client.answer("q", corpus=LONE), "corpus is a string without"),
    (lambda client: client.answer("q", corpora=7), "corpora is a list, not int"),
    (lambda client: client.answer("q", corpora=["a", 7]), "corpus is a string, not int"),
    (lambda client: client.answer("q", chat=7), "chat is a string, not int"),
    (lambda client: client.answer("q", assistant=7), "assistant is a string, not int"),
    (lambda client: client.answer("q", instructions=LONE), "instructions is a string without"),
    (lambda client: client.answer("q", instructions=0), "instructions is a string, not int"),
    (lambda client: client.answer("q", query=["x"]), "query is a string, not list"),
    (lambda client: client.answer("q", history="hello"), "history is a list, not str"),
    (lambda client: client.answer("q", history=[7]), "a message of history is a ChatMessage or a pair"),
    (lambda client: client.answer("q", history=[("user",)]), "a message of history is a ChatMessage or a pair"),
    (lambda client: client.answer("q", history=[("user", 7)]), "a text in history is a string, not int"),
    (lambda client: client.answer("q", history=[("user", LONE)]), "a text in history is a string without"),
    (lambda client: client.answer("q", sources="text"), "sources is a list, not str"),
    (lambda client: client.answer("q", sources=[7]), "each of sources is a Source or a string"),
    (lambda client: client.answer("q", sources=[LONE]), "a text in sources is a string without"),
    (lambda client: client.answer("q", top_k="3"), "top_k is a whole number, not str"),
    (lambda client: client.answer("q", seed=1.5), "seed is a whole number, not float"),
    (lambda client: client.answer("q", top_k=True), "top_k is a whole number from 1 to 100: True"),
    (lambda client: client.answer("q", temperature="hot"), "temperature is a number, not str"),
    (lambda client: client.answer("q", top_p=10**400), "top_p is a number that a float can hold"),
    (lambda client: client.answer("q", stop_sequences=[7]), r"stop_sequences\[0\] is a string, not int"),
    (lambda client: client.answer("q", stop_sequences=[LONE]), r"stop_sequences\[0\] is a string without"),
    (lambda client: client.answer("q", provider_options=[1]), "provider_options is a mapping, not list"),
    (lambda client: client.answer("q", provider_options={"a": LONE}), "provider_options holds"),
    (lambda client: client.answer("q", limits=30), "limits is a Limits, not int"),
    (lambda client: client.answer("q", limits=Limits(total=Ellipsis)), "total is a number, not ellipsis"),  # type: ignore[arg-type]  # on purpose
    (lambda client: client.answer("q", limits=Limits(total=1e300)), "cannot be made of these arguments"),
    (lambda client: client.answer("q", labels={"a": 1}), r"labels\['a'\] is a string, not int"),
    (lambda client: client.answer("q", labels={1: "a"}), "a key of labels is a string, not int"),
    (lambda client: client.answer("q", labels={"a": LONE}), r"labels\['a'\] is a string without"),
    (lambda client: client.answer("q", labels=["a"]), "labels is a mapping of strings to strings, not list"),
    (lambda client: client.answer("q", request_id=LONE), "request_id is a UUID"),
    (lambda client: client.answer("q", request_id=7), "request_id is a UUID"),
    (lambda client: client.answer("q", filter={7: "x"}), "a metadata key is a string, not int"),
    (lambda client: client.answer("q", filter={LONE: "x"}), "a metadata key is a string without"),
    (lambda client: client.answer("q", filter={"x": LONE}), "a string of metadata is a string without"),
    (lambda client: client.answer("q", filter=field("x").in_(7)), "in_ and not_in is a list, not int"),  # type: ignore[arg-type]  # on purpose
    (lambda client: client.retrieve(LONE), "query is a string without"),
    (lambda client: client.retrieve(7), "query is a string, not int"),
    (lambda client: client.retrieve("q", corpus=["a"]), "use corpora="),
    (lambda client: client.retrieve("q", min_score="high"), "min_score is a number, not str"),
    (lambda client: client.get_answer(7), "answer is a string, not int"),
    (lambda client: client.cancel_answer(LONE), "answer is a string without"),
    (lambda client: client.documents.get(7), "document is a string, not int"),
    (lambda client: client.documents.get(LONE, corpus="c"), "document is a string without"),
    (lambda client: client.documents.delete("d", corpus=7), "corpus is a string, not int"),
    (lambda client: client.documents.download(7), "document is a string, not int"),
    (lambda client: client.documents.watch(7), "document is a string, not int"),
    (lambda client: client.documents.update("d", corpus="c", title=7), "title is a string, not int"),
    (lambda client: client.documents.create(7), "content is bytes or a string, not int"),
    (lambda client: client.documents.create(LONE), "content is a string without"),
    (lambda client: client.documents.create("x", document_id=7), "document_id is a string, not int"),
    (lambda client: client.documents.create("x", media_type=7), "media_type is a string, not int"),
    (lambda client: client.documents.create("x", metadata={7: "x"}), "a key of metadata is a string, not int"),
    (lambda client: client.documents.create("x", metadata={LONE: "x"}), "a key of metadata is a string without"),
    (lambda client: client.documents.create("x", metadata={"k": [LONE]}), r"metadata\['k'\]: .* without lone"),
    (lambda client: client.documents.create("x", metadata=["k"]), "metadata is a mapping of keys to values, not list"),
    (lambda client: client.documents.import_file(b"x", uri=LONE), "uri is a string without"),
    (lambda client: client.documents.import_file(b"x", corpus=7), "corpus is a string, not int"),
    (lambda client: client.documents.import_file("a\0b"), "is no path"),
    (lambda client: client.corpora.create(7), "corpus_id is a string, not int"),
    (lambda client: client.corpora.create("c", labels={"a": 1}), r"labels\['a'\] is a string, not int"),
    (lambda client: client.corpora.get(7), "corpus is a string, not int"),
    (lambda client: client.corpora.update("c", display_name=LONE), "display_name is a string without"),
    (lambda client: client.corpora.delete("c", force="yes"), "force is True or False, not str"),
    (lambda client: client.corpora.list(page_size="9"), "page_size is a whole number, not str"),
    (lambda client: client.documents.list(page_size=-1), "page_size is a whole number from 0"),
    (lambda client: client.answer("q", chat=Chat()), "a chat is named chats/"),
    (lambda client: client.chats.create(display_name=7), "display_name is a string, not int"),
    (lambda client: client.chats.create(assistant=LONE), "assistant is a string without"),
    (lambda client: client.chats.create(corpus="a", corpora=["b"]), "corpus and corpora say the same"),
    (lambda client: client.chats.create(top_k=0), "top_k is a whole number from 1 to 100: 0"),
    (lambda client: client.chats.create(labels={"a": 1}), r"labels\['a'\] is a string, not int"),
    (lambda client: client.chats.create(request_id="x"), "request_id is a UUID"),
    (lambda client: client.chats.get(7), "chat is a string, not int"),
    (lambda client: client.chats.update("c"), "nothing to change"),
    (lambda client: client.chats.update("c", display_name=LONE), "display_name is a string without"),
    (lambda client: client.chats.delete("a/b"), "a chat is named chats/"),
    (lambda client: client.chats.list(page_size=-1), "page_size is a whole number from 0"),
    (lambda client: client.chats.get_turn(7), "turn is a string, not int"),
    (lambda client: client.chats.list_turns(7), "chat is a string, not int"),
    (lambda client: client.delete_answer(7), "answer is a string, not int"),
    (lambda client: client.list_answers(state="paused"), "state is one of running, succeeded"),
    (lambda client: client.list_answers(page_size="9"), "page_size is a whole number, not str"),
    (lambda client: client.assistants(page_size=1.0), "page_size is a whole number, not float"),
]


def wait(result: Any) -> None:
    """Asks for the first page of a list; nothing else comes this far."""
    next(result)


async def wait_async(result: Any) -> None:
    await (result if inspect.isawaitable(result) else anext(result))


@pytest.mark.parametrize(("call", "words"), CASES, ids=[words for _, words in CASES])
def test_the_sync_client_names_the_argument_and_what_it_takes(call: Call, words: str) -> None:
    with Client(NOWHERE) as client, pytest.raises(ArgumentError, match=words):
        wait(call(client))


@pytest.mark.anyio
@pytest.mark.parametrize(("call", "words"), CASES, ids=[words for _, words in CASES])
async def test_the_async_client_names_the_argument_and_what_it_takes(call: Call, words: str) -> None:
    async with AsyncClient(NOWHERE) as client:
        with pytest.raises(ArgumentError, match=words):
            await wait_async(call(client))


ANSWER: dict[str, Any] = {
    name: None for name, each in inspect.signature(answer_request).parameters.items() if each.kind == each.KEYWORD_ONLY
} | {"grounded": True}
SEARCH: dict[str, Any] = dict.fromkeys(inspect.signature(retrieval_options).parameters)
CHAT: dict[str, Any] = {name: None for name in SEARCH if name != "query"}
DOCUMENT: dict[str, Any] = {"title": "t", "uri": None, "media_type": None, "metadata": None}


def upload() -> object:
    with open_content(b"x") as content:
        return import_header(content, corpus="c", document_id=None, **DOCUMENT)


BUILDERS: list[tuple[str, Callable[[], object]]] = [
    ("_requests.answer_service_pb2", lambda: answer_request("q", **ANSWER)),
    ("_requests.answer_service_pb2", lambda: cancel_request("a", None)),
    ("_requests.source_pb2", lambda: retrieval_options(**SEARCH)),
    ("_updates.retrieval_service_pb2", lambda: create_corpus_request("c", display_name="", labels=None)),
    ("_updates.retrieval_service_pb2", lambda: update_corpus_request("c", display_name="n", labels=None)),
    (
        "_updates.retrieval_service_pb2",
        lambda: update_document_request("d", corpus="c", title="t", uri=None, metadata=None),
    ),
    (
        "_chat_requests.answer_service_pb2",
        lambda: create_chat_request(display_name="", assistant="", labels=None, request_id=None, **CHAT),
    ),
    (
        "_chat_requests.answer_service_pb2",
        lambda: update_chat_request("c", display_name="n", assistant=None, labels=None, **CHAT),
    ),
    ("_uploads.retrieval_service_pb2", upload),
    ("_uploads.retrieval_service_pb2", lambda: create_document_request("x", corpus="c", document_id=None, **DOCUMENT)),
    ("_uploads.document_pb2", lambda: new_document(**DOCUMENT)),
]


class Refusing:
    """Messages of which every one refuses to be made."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> NoReturn:
        raise self._error


@pytest.mark.parametrize("error", [TypeError("t"), ValueError("v"), UnicodeEncodeError("utf-8", "\ud800", 0, 1, "u")])
@pytest.mark.parametrize(("module", "build"), BUILDERS)
def test_what_only_protobuf_refuses_is_an_argument_error_as_well(
    module: str, build: Callable[[], object], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    build()  # as it is, it can be made
    monkeypatch.setattr(f"headwater.{module}", Refusing(error))
    with pytest.raises(ArgumentError, match="cannot be made of these arguments") as refused:
        build()
    assert refused.value.__cause__ is error
