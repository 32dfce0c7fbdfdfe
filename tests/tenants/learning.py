"""What a tenant learns from the replies to it: the names that it then has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from headwater.v1 import document_pb2
from tests.tenants.tenant import Ledger, Tenant
from tests.tenants.wire import Reply, Request

_MOST_TOKENS = 50


def unlearn(tenant: Tenant, request: Request) -> None:
    """Forgets, before it is asked for, what a request deletes."""
    message: Any = request.message
    if not request.method.startswith("Delete"):
        return
    kind = {"DeleteCorpus": "corpus", "DeleteDocument": "document", "DeleteAnswer": "answer", "DeleteChat": "chat"}
    tenant.live[kind[request.method]].discard(message.name)
    tenant.deleted |= {message.name} - {""}
    if request.method == "DeleteChat":
        for name in tenant.in_chats.pop(message.name, ()):
            tenant.live["answer"].discard(name)
    for below in {"DeleteCorpus": ("document",), "DeleteChat": ("turn",)}.get(request.method, ()):
        for name in tenant.live[below]:
            if name.startswith(f"{message.name}/"):
                tenant.live[below].discard(name)


def learn(tenant: Tenant, request: Request, reply: Reply, ledger: Ledger) -> list[str]:
    """Notes what a tenant has now; returns what is wrong: a name that was given to two."""
    if request.method == "DeleteCorpus" and reply.code is grpc.StatusCode.FAILED_PRECONDITION:
        message: Any = request.message
        tenant.live["corpus"].add(message.name)
        tenant.deleted.discard(message.name)
    wrong = []
    for kind, name in _names(request, reply):
        if kind == "checksum" or kind in {"answer", "chat", "turn"}:
            claimed = name if kind in {"answer", "checksum"} else "/".join(name.split("/")[-2:])
            if len(claimed) > 20:  # shorter ones are not the server's own
                wrong.append(ledger.claim(claimed, tenant))
        chat = getattr(request.message, "chat", "") if kind == "answer" else ""
        if chat:
            tenant.in_chats[chat].add(name)
        if request.method.startswith(("Create", "Import")):
            tenant.deleted.discard(name)
        if kind != "checksum" and not tenant.deleted & {name, chat}:
            tenant.live[kind].add(name)  # a list that was made before a deletion may come after it
    _learn_request_id(tenant, request, reply)
    if request.method.startswith("List"):
        tokens = tenant.tokens[request.method]
        tokens += [page.next_page_token for page in reply.parsed(request.method) if page.next_page_token]
        del tokens[:-_MOST_TOKENS]
    return [each for each in wrong if each is not None]


def _learn_request_id(tenant: Tenant, request: Request, reply: Reply) -> None:
    message: Any = request.message if isinstance(request.message, Message) else request.message[0].header  # type: ignore[attr-defined]  # the only stream of requests
    request_id = getattr(message, "request_id", "")
    if request.method.startswith(("Cancel", "Delete")) or not request_id:
        return
    if reply.code is grpc.StatusCode.OK and request.leave_after is None:
        tenant.live["request_id"].add(request_id)
    tenant.requests.setdefault(request_id, request)


def _names(request: Request, reply: Reply) -> list[tuple[str, str]]:
    """Names in a reply, with their kinds."""
    names: list[tuple[str, str]] = []
    for message in reply.parsed(request.method) if request.method in _NAMES else []:
        names += _NAMES[request.method](message)
    info = error_details_pb2.ErrorInfo()
    if request.method in {"StreamAnswer", "GenerateAnswer"}:
        names += [("answer", info.metadata["answer"]) for detail in reply.status.details if detail.Unpack(info)]
    return [(kind, name) for kind, name in names if name]


def _of_document(document: document_pb2.Document) -> list[tuple[str, str]]:
    return [("document", document.name), ("checksum", document.sha256)]


_NAMES: dict[str, Callable[[Any], list[tuple[str, str]]]] = {
    "CreateCorpus": lambda corpus: [("corpus", corpus.name)],
    "CreateDocument": _of_document,
    "ImportDocument": lambda message: _of_document(message.document),
    "CreateChat": lambda chat: [("chat", chat.name)],
    "GenerateAnswer": lambda answer: [("answer", answer.name)],
    "StreamAnswer": lambda chunk: [("answer", chunk.started.answer)],
    "ListTurns": lambda page: [("turn", turn.name) for turn in page.turns],
}
