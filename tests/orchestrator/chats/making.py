"""Short ways to make what the store of chats takes."""

from __future__ import annotations

from typing import Any

from headwater.v1.answer_pb2 import ANSWER_STATE_FAILED, ANSWER_STATE_SUCCEEDED
from headwater_server.names import new_id
from headwater_server.orchestrator.chats.protocol import ChatStore, NewChat, NewTurn, TurnEnding, TurnRecord

ACME = "acme"
NOW = 1_700_000_000_000_000
MANY = 1_000


def new_chat(tenant: str = ACME, *, created: int = NOW, **fields: Any) -> NewChat:
    return NewChat(id=new_id(), tenant=tenant, settings=fields.pop("settings", b"as made"), created=created, **fields)


def new_turn(chat: str, prompt: str = "why?", *, tenant: str = ACME, created: int = NOW, **fields: Any) -> NewTurn:
    return NewTurn(
        id=new_id(),
        tenant=tenant,
        chat=chat,
        answer=fields.pop("answer", f"answers/{new_id()}"),
        prompt=prompt,
        outline=fields.pop("outline", b"begun"),
        created=created,
        **fields,
    )


def ending(text: str = "because", state: int = ANSWER_STATE_SUCCEEDED) -> TurnEnding:
    return TurnEnding(state=state, text=text, outline=b"ended", contents=b"contents")


def lost(turn: TurnRecord) -> TurnEnding:
    return TurnEnding(state=ANSWER_STATE_FAILED, text="", outline=b"lost " + turn.answer.encode(), contents=b"")


async def made(store: ChatStore, tenant: str = ACME, **fields: Any) -> str:
    """The id of a new chat."""
    return (await store.create(new_chat(tenant, **fields), at_most=MANY)).id


async def begun(store: ChatStore, chat: str, prompt: str = "why?", **fields: Any) -> TurnRecord:
    return await store.begin_turn(new_turn(chat, prompt, **fields), at_most=MANY, lost=lost)


async def told(store: ChatStore, chat: str, prompt: str, text: str, **fields: Any) -> TurnRecord:
    """A turn that has come to its end."""
    turn = await begun(store, chat, prompt)
    assert await store.settle(turn.answer, ending(text, **fields), now=NOW)
    return turn
