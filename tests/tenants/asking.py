"""Requests about a name, whoever's it is, and requests about none; their contents have the mark of who asks."""

from __future__ import annotations

import random
from collections.abc import Callable

from headwater.v1 import answer_pb2, chat_pb2, document_pb2, source_pb2
from headwater.v1 import answer_service_pb2 as answers
from headwater.v1 import assistant_service_pb2 as assistants
from headwater.v1 import retrieval_service_pb2 as retrieval
from tests.tenants.tenant import SHARED_IDS, Tenant
from tests.tenants.wire import Request

ASSISTANT = "echo/echo"
_POLICIES = (answers.DISCONNECT_POLICY_CANCEL, answers.DISCONNECT_POLICY_CONTINUE)
_STATES = (answer_pb2.ANSWER_STATE_UNSPECIFIED, answer_pb2.ANSWER_STATE_RUNNING, answer_pb2.ANSWER_STATE_SUCCEEDED)
NamedRequest = Callable[[str, Tenant, random.Random], Request]


def options(tenant: Tenant, chance: random.Random, *corpora: str) -> source_pb2.RetrievalOptions:
    """A search for words that both tenants' documents have; mostly without embedding anything."""
    modes = (source_pb2.RETRIEVAL_MODE_LEXICAL, source_pb2.RETRIEVAL_MODE_HYBRID)
    mode = chance.choices(modes, (9, 1))[0]
    return source_pb2.RetrievalOptions(corpora=corpora, query=tenant.text(chance), mode=mode, top_k=20)


def asked(tenant: Tenant, chance: random.Random) -> answers.StreamAnswerRequest:
    """A question without sources."""
    request = answers.StreamAnswerRequest(
        request_id=tenant.request_id(chance),
        prompt=tenant.text(chance),
        assistant=ASSISTANT,
        labels={"of": tenant.mark},
        on_disconnect=chance.choice(_POLICIES),
    )
    request.ungrounded.SetInParent()
    return request


def _labelled(tenant: Tenant) -> dict[str, str]:
    return {"of": tenant.mark}


# Of a corpus.
def _update_corpus(name: str, tenant: Tenant, chance: random.Random) -> Request:
    corpus = document_pb2.Corpus(name=name, display_name=tenant.text(chance), labels=_labelled(tenant))
    return Request("UpdateCorpus", retrieval.UpdateCorpusRequest(corpus=corpus))


def _delete_corpus(name: str, _: Tenant, chance: random.Random) -> Request:
    return Request("DeleteCorpus", retrieval.DeleteCorpusRequest(name=name, force=chance.random() < 0.5))


def _list_documents(name: str, _: Tenant, chance: random.Random) -> Request:
    return Request("ListDocuments", retrieval.ListDocumentsRequest(parent=name, page_size=chance.choice((0, 2))))


def _create_document(name: str, tenant: Tenant, chance: random.Random) -> Request:
    document = document_pb2.Document(title=tenant.text(chance), media_type="text/plain", uri=f"x:{tenant.mark}")
    document.metadata["of"].string_value = tenant.mark
    return Request(
        "CreateDocument",
        retrieval.CreateDocumentRequest(
            parent=name,
            document_id=tenant.new_id(chance),
            document=document,
            content=tenant.document(chance),
            request_id=tenant.request_id(chance),
        ),
    )


def _import_document(name: str, tenant: Tenant, chance: random.Random) -> Request:
    content = tenant.document(chance)
    header = retrieval.ImportDocumentHeader(
        parent=name,
        document_id=tenant.new_id(chance),
        document=document_pb2.Document(title=tenant.text(chance), media_type="text/plain"),
        size_bytes=len(content),
        request_id=tenant.request_id(chance),
    )
    half = len(content) // 2
    data = [retrieval.ImportDocumentRequest(data=part) for part in (content[:half], content[half:])]
    cut_off = chance.choice((None, None, 0, 1))  # it hangs up, in the middle of its upload or of what follows
    return Request("ImportDocument", [retrieval.ImportDocumentRequest(header=header), *data], leave_after=cut_off)


def _answer_over(name: str, tenant: Tenant, chance: random.Random) -> Request:
    request = asked(tenant, chance)
    request.retrieval.CopyFrom(options(tenant, chance, name))
    return Request(chance.choice(("StreamAnswer", "GenerateAnswer")), request)


def _chat_over(name: str, tenant: Tenant, chance: random.Random) -> Request:
    chat = chat_pb2.Chat(display_name=tenant.text(chance), retrieval=options(tenant, chance, name))
    return Request("CreateChat", answers.CreateChatRequest(chat=chat, request_id=tenant.request_id(chance)))


# Of a document.
def _update_document(name: str, tenant: Tenant, chance: random.Random) -> Request:
    document = document_pb2.Document(name=name, title=tenant.text(chance))
    return Request("UpdateDocument", retrieval.UpdateDocumentRequest(document=document))


# Of an answer.
def _resume(name: str, _: Tenant, chance: random.Random) -> Request:
    request = answers.ResumeAnswerRequest(name=name)
    if chance.random() < 0.7:
        request.after_sequence = chance.choice((0, 1, 2, 3, 1000))
    return Request("ResumeAnswer", request, leave_after=chance.choice((None, None, 1)))


# Of a chat.
def _update_chat(name: str, tenant: Tenant, chance: random.Random) -> Request:
    chat = chat_pb2.Chat(name=name, display_name=tenant.text(chance), labels=_labelled(tenant))
    return Request("UpdateChat", answers.UpdateChatRequest(chat=chat))


def _list_turns(name: str, _: Tenant, chance: random.Random) -> Request:
    return Request("ListTurns", answers.ListTurnsRequest(parent=name, page_size=chance.choice((0, 1))))


def _say(name: str, tenant: Tenant, chance: random.Random) -> Request:
    request = asked(tenant, chance)
    request.chat = name
    return Request(chance.choice(("StreamAnswer", "GenerateAnswer")), request)


NAMED: dict[str, tuple[tuple[float, NamedRequest], ...]] = {
    "corpus": (
        (3, lambda name, _t, _c: Request("GetCorpus", retrieval.GetCorpusRequest(name=name))),
        (2, _update_corpus),
        (
            0.2,
            lambda name, _t, c: Request(
                "DeleteCorpus", retrieval.DeleteCorpusRequest(name=name, force=c.random() < 0.5)
            ),
        ),
        (0.05, lambda name, _t, _c: Request("ReembedCorpus", retrieval.ReembedCorpusRequest(name=name))),
        (
            3,
            lambda name, _t, c: Request(
                "ListDocuments", retrieval.ListDocumentsRequest(parent=name, page_size=c.choice((0, 2)))
            ),
        ),
        (1.2, _create_document),
        (0.8, _import_document),
        (5, lambda name, t, c: Request("Retrieve", retrieval.RetrieveRequest(options=options(t, c, name)))),
        (2, _answer_over),
        (0.5, _chat_over),
    ),
    "document": (
        (3, lambda name, _t, _c: Request("GetDocument", retrieval.GetDocumentRequest(name=name))),
        (1, _update_document),
        (1, lambda name, _t, _c: Request("DeleteDocument", retrieval.DeleteDocumentRequest(name=name))),
        (2, lambda name, _t, _c: Request("WatchDocument", retrieval.WatchDocumentRequest(name=name))),
        (2, lambda name, _t, _c: Request("DownloadDocument", retrieval.DownloadDocumentRequest(name=name))),
    ),
    "answer": (
        (4, lambda name, _t, _c: Request("GetAnswer", answers.GetAnswerRequest(name=name))),
        (4, _resume),
        (2, lambda name, _t, _c: Request("CancelAnswer", answers.CancelAnswerRequest(name=name))),
        (1, lambda name, _t, _c: Request("DeleteAnswer", answers.DeleteAnswerRequest(name=name))),
    ),
    "request_id": ((2, lambda name, _t, _c: Request("CancelAnswer", answers.CancelAnswerRequest(request_id=name))),),
    "chat": (
        (2, lambda name, _t, _c: Request("GetChat", answers.GetChatRequest(name=name))),
        (2, _update_chat),
        (0.5, lambda name, _t, _c: Request("DeleteChat", answers.DeleteChatRequest(name=name))),
        (
            2,
            lambda name, _t, c: Request("ListTurns", answers.ListTurnsRequest(parent=name, page_size=c.choice((0, 1)))),
        ),
        (3, _say),
    ),
    "turn": ((2, lambda name, _t, _c: Request("GetTurn", answers.GetTurnRequest(name=name))),),
}
"""Requests about one name, by its kind, and how often each is made."""


def _create_corpus(tenant: Tenant, chance: random.Random) -> Request:
    corpus_id = chance.choice(SHARED_IDS) if chance.random() < 0.3 else tenant.new_id(chance)
    corpus = document_pb2.Corpus(display_name=tenant.text(chance), labels=_labelled(tenant))
    request_id = tenant.request_id(chance)
    return Request(
        "CreateCorpus", retrieval.CreateCorpusRequest(corpus_id=corpus_id, corpus=corpus, request_id=request_id)
    )


def _create_chat(tenant: Tenant, chance: random.Random) -> Request:
    chat = chat_pb2.Chat(display_name=tenant.text(chance), assistant=ASSISTANT, labels=_labelled(tenant))
    return Request("CreateChat", answers.CreateChatRequest(chat=chat, request_id=tenant.request_id(chance)))


def _list_answers(_: Tenant, chance: random.Random) -> Request:
    request = answers.ListAnswersRequest(page_size=chance.choice((1, 5)), state=chance.choice(_STATES))
    return Request("ListAnswers", request)


def _generate(tenant: Tenant, chance: random.Random) -> Request:
    before = chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_USER, text=tenant.text(chance))
    request = assistants.StreamGenerateRequest(assistant=ASSISTANT, prompt=tenant.text(chance), history=[before])
    return Request("StreamGenerate", request)


UNNAMED: tuple[tuple[float, Callable[[Tenant, random.Random], Request]], ...] = (
    (1.5, _create_corpus),
    (1, _create_chat),
    (8, lambda t, c: Request("StreamAnswer", asked(t, c), leave_after=c.choice((None, None, None, 1)))),
    (2, lambda t, c: Request("GenerateAnswer", asked(t, c))),
    (1, lambda _t, _c: Request("ListCorpora", retrieval.ListCorporaRequest(page_size=2))),
    (
        3,
        lambda _t, c: Request(
            "ListAnswers", answers.ListAnswersRequest(page_size=c.choice((1, 5)), state=c.choice(_STATES))
        ),
    ),
    (1, lambda _t, c: Request("ListChats", answers.ListChatsRequest(page_size=c.choice((1, 5))))),
    (0.3, lambda _t, _c: Request("ListAssistants", assistants.ListAssistantsRequest(page_size=1))),
    (0.3, lambda _t, _c: Request("GetAssistant", assistants.GetAssistantRequest(name=f"assistants/{ASSISTANT}"))),
    (1, _generate),
)
"""Requests about nobody's, and how often each is made."""

LISTS = ("ListCorpora", "ListAnswers", "ListChats", "ListDocuments", "ListTurns", "ListAssistants")
