"""Two tenants who use one server at the same time, and each other's names; every reply is looked through."""

from __future__ import annotations

import asyncio
import random
import secrets
import string
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message

from headwater.v1 import answer_service_pb2 as answers
from tests.serving import serving
from tests.tenants.asking import NAMED, UNNAMED, NamedRequest
from tests.tenants.echo import Echo, echoing
from tests.tenants.learning import learn, unlearn
from tests.tenants.tenant import SHARED_IDS, Ledger, Tenant, parts
from tests.tenants.wire import METHODS, Channel, Reply, Request

Code = grpc.StatusCode

_SETTINGS = """
[tokens]
acme = "{acme}"
globex = "{globex}"

[retrieval]
workers = 1

[assistants.echo]
api = "openai-chat"
base_url = "{url}"
models = ["echo"]
"""
_AT_ONCE = 12
_MOST = {"CreateCorpus": ("corpus", 10), "CreateDocument": ("document", 40), "ImportDocument": ("document", 40)}
"""How many of a kind a tenant has at the same time, at most; instead of another one it deletes one."""
_MAY_BE = frozenset(
    {
        *(Code.OK, Code.NOT_FOUND, Code.ALREADY_EXISTS, Code.FAILED_PRECONDITION, Code.ABORTED, Code.CANCELLED),
        *(Code.RESOURCE_EXHAUSTED, Code.OUT_OF_RANGE, Code.INVALID_ARGUMENT),
    }
)
"""How a call may end; what is INVALID_ARGUMENT is looked at where it is made."""
_TRIES = 4
_CENSUS = 500
"""How many names of each kind are looked up at the end."""


@dataclass(slots=True)
class Found:
    """What was done and seen."""

    operations: int = 0
    foreign: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    methods: set[str] = field(default_factory=set)
    foreign_methods: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)


class Driver:
    """Makes operations.

    Args:
        tenants: The two.
        seed: Decides what is done.
    """

    def __init__(self, tenants: tuple[Tenant, Tenant], *, seed: int) -> None:
        self._tenants = tenants
        self._seed = seed
        self.ledger = Ledger(tenants)
        self.found = Found()

    async def work(self, numbers: Iterator[int]) -> None:
        """Makes those operations, one after the other."""
        for number in numbers:
            await self.operation(number)

    async def operation(self, number: int) -> None:
        """One of them."""
        chance = random.Random(f"{self._seed}/{number}")  # noqa: S311 (chooses what to do)
        mine, other = chance.sample(self._tenants, 2)
        kinds = (self._own, self._unnamed, self._foreign, self._foreign_token, self._foreign_request_id, self._guess)
        await chance.choices((*kinds, self._again), (38, 28, 24, 3, 3, 2, 2))[0](mine, other, chance)
        self.found.operations += 1

    async def _ask(self, tenant: Tenant, request: Request, *asked: str) -> Reply:
        """Makes a call, and looks at all that comes of it."""
        unlearn(tenant, request)
        tenant.sent.update(part.encode() for name in asked for part in parts(name))
        for _ in range(_TRIES):
            reply = await tenant.channel.ask(request)
            if reply.reason != "OVERLOADED":
                break
            await asyncio.sleep(0.3)
        self.found.methods.add(request.method)
        self.found.outcomes[reply.code.name] += 1
        if reply.code not in _MAY_BE:
            self.found.wrong.append(f"{request.method} of {tenant.name} ended as {reply.code.name}: {reply.words}")
        self.found.wrong += self.ledger.look(reply, tenant)
        self.found.wrong += learn(tenant, request, reply, self.ledger)
        return reply

    async def _own(self, mine: Tenant, other: Tenant, chance: random.Random) -> None:
        kind = chance.choice([kind for kind in NAMED if len(mine.live[kind])] or [""])
        name = mine.live[kind].any(chance)
        if name is None:
            await self._unnamed(mine, other, chance)
            return
        request = _any_of(NAMED[kind], chance)(name, mine, chance)
        await self._ask(mine, self._instead(request, mine, chance), name)

    async def _unnamed(self, mine: Tenant, _: Tenant, chance: random.Random) -> None:
        request = chance.choices([make for _, make in UNNAMED], [often for often, _ in UNNAMED])[0](mine, chance)
        await self._ask(mine, self._instead(request, mine, chance))

    def _instead(self, request: Request, mine: Tenant, chance: random.Random) -> Request:
        """The same request, or one that deletes, where there would be too many."""
        kind, most = _MOST.get(request.method, ("", 0))
        if not kind or len(mine.live[kind]) < most:
            return request
        name = mine.live[kind].any(chance)
        assert name is not None
        delete = next(make for _, make in NAMED[kind] if make(name, mine, chance).method.startswith("Delete"))
        return delete(name, mine, chance)

    async def _foreign(self, mine: Tenant, other: Tenant, chance: random.Random) -> None:
        """Asks for what is the other's, and for what is nobody's: both are answered alike."""
        kind = chance.choice([kind for kind in NAMED if len(other.live[kind])] or [""])
        name = other.live[kind].any(chance)
        shared = kind in {"corpus", "document"} and other.id_mark not in (name or "")
        if name is None or shared or name in mine.live[kind] or name in mine.requests:
            await self._unnamed(mine, other, chance)
            return
        if kind == "document" and chance.random() < 0.3 and (corpus := mine.live["corpus"].any(chance)) is not None:
            name = f"{corpus}/documents/{name.rpartition('/')[2]}"
            nobodys = f"{corpus}/documents/{_nobodys(name.rpartition('/')[2], chance)}"
        else:
            nobodys = "/".join(_nobodys(part, chance) for part in name.split("/"))
        if kind == "request_id":
            mine.asked_for.add(name)
        _, make = chance.choice(NAMED[kind])
        await self._alike(mine, make, name, nobodys, chance)

    async def _alike(self, mine: Tenant, make: NamedRequest, name: str, nobodys: str, chance: random.Random) -> None:
        seed = chance.random()
        self.found.foreign += 1
        theirs = none = ""
        for _ in range(_TRIES):  # where a corpus of both names is deleted between the two, the words differ once
            request = make(name, mine, random.Random(seed))  # noqa: S311 (chooses what to do)
            reply = await self._ask(mine, _anew(request, mine, chance), name)
            twin = await self._ask(mine, _anew(make(nobodys, mine, random.Random(seed)), mine, chance), nobodys)  # noqa: S311
            self.found.foreign_methods.add(request.method)
            if reply.code is Code.OK and request.method != "CreateChat":  # a chat may name a corpus that will be
                self.found.wrong.append(f"{mine.name} could use {name} of another: {request.method}")
            theirs, none = reply.likeness(*parts(name)), twin.likeness(*parts(nobodys))
            if theirs == none:
                return
        self.found.wrong.append(f"{name} of another, for {mine.name}, is {theirs}; what does not exist is {none}")

    async def _foreign_token(self, mine: Tenant, other: Tenant, chance: random.Random) -> None:
        """Shows a page token of the other's list."""
        lists = [method for method, tokens in other.tokens.items() if tokens and method != "ListAssistants"]
        if not lists:
            await self._unnamed(mine, other, chance)
            return
        method = chance.choice(lists)
        parent = {"ListDocuments": "corpus", "ListTurns": "chat"}.get(method)
        name = mine.live[parent].any(chance) if parent else ""
        if name is None:
            await self._unnamed(mine, other, chance)
            return
        made: Any = METHODS[method].request
        fields = {"parent": name} if name else {}
        request = Request(method, made(page_token=chance.choice(other.tokens[method]), **fields))
        self.found.foreign += 1
        reply = await self._ask(mine, request, name)
        if reply.code not in {Code.INVALID_ARGUMENT, Code.NOT_FOUND}:
            self.found.wrong.append(f"{mine.name} could show a page token of {other.name}: {method}, {reply.code.name}")

    async def _foreign_request_id(self, mine: Tenant, other: Tenant, chance: random.Random) -> None:
        """Uses a request_id of the other's, which is nothing to this one."""
        request_id = other.live["request_id"].any(chance)
        theirs = other.requests.get(request_id or "")
        if request_id is None or theirs is None or request_id in mine.requests or request_id in mine.asked_for:
            await self._unnamed(mine, other, chance)
            return
        request = next(
            (made for _ in range(200) if (made := self._some(mine, chance)) and made.method == theirs.method), None
        )
        if request is None:
            await self._unnamed(mine, other, chance)
            return
        _set_request_id(request, request_id)
        mine.requests[request_id] = request  # from now on it is this one's too
        self.found.foreign += 1
        self.found.foreign_methods.add(request.method)
        reply = await self._ask(mine, request, _parent_of(request))
        if reply.reason == "REQUEST_ID_REUSED":
            self.found.wrong.append(f"{mine.name} was told that {other.name} has used a request_id: {request.method}")

    def _some(self, mine: Tenant, chance: random.Random) -> Request | None:
        if chance.random() < 0.5:
            return chance.choices([make for _, make in UNNAMED], [often for often, _ in UNNAMED])[0](mine, chance)
        kind = chance.choice(("corpus", "chat"))
        name = mine.live[kind].any(chance)
        return _any_of(NAMED[kind], chance)(name, mine, chance) if name is not None else None

    async def _guess(self, mine: Tenant, other: Tenant, chance: random.Random) -> None:
        """Asks for names like those of the other's: a letter more, less or else, in upper case, with a way up."""
        kind = chance.choice([kind for kind in NAMED if kind != "request_id" and len(other.live[kind])] or [""])
        name = other.live[kind].any(chance)
        if name is None:
            await self._unnamed(mine, other, chance)
            return
        place = chance.randrange(len(name))
        ways = (
            f"{name}0",
            name[:-1],
            name.upper(),
            f"{name}/..",
            f"./{name}",
            name.replace("/", "//"),
            f"{name}\0",
            "",
        )
        guess = chance.choice(
            (*ways, name[:place] + chance.choice("0fz-") + name[place + 1 :], f"{name}%00", f"{name}*")
        )
        if guess in mine.live[kind] or guess == name:
            return
        self.found.foreign += 1
        reply = await self._ask(mine, _any_of(NAMED[kind], chance)(guess, mine, chance), guess, name)
        del reply  # what it may be depends on the guess: what counts is that nothing of the other's was in it

    async def _again(self, mine: Tenant, _: Tenant, chance: random.Random) -> None:
        """Asks once more with a request_id of its own: it is told the same."""
        request_id = mine.live["request_id"].any(chance)
        request = mine.requests.get(request_id or "")
        if request is not None:
            reply = await self._ask(mine, request, _parent_of(request))
            if reply.reason == "REQUEST_ID_REUSED":
                self.found.wrong.append(f"{request.method} of {mine.name} could not be repeated: {reply.words}")

    async def census(self) -> int:
        """Looks up what each should still have, now that the other has tried to delete it; returns how much."""
        counted = 0
        chance = random.Random(f"{self._seed}/census")  # noqa: S311 (chooses what to do)
        for tenant in self._tenants:
            for kind in ("corpus", "document", "answer", "chat"):
                for name in list(tenant.live[kind])[:_CENSUS]:
                    corpus = "/".join(name.split("/")[:2])
                    if kind == "document" and (corpus not in tenant.live["corpus"] or tenant.id_mark not in corpus):
                        continue  # it went with its corpus
                    request = NAMED[kind][0][1](name, tenant, chance)
                    reply = await self._ask(tenant, request, name)
                    counted += 1
                    if reply.code is not Code.OK or tenant.mark.encode() not in b"".join(reply.messages):
                        self.found.wrong.append(f"{name} of {tenant.name} is not there: {reply.code.name}")
        return counted


async def run(count: int, *, seed: int, folder: Path, seconds: float | None = None) -> dict[str, Any]:
    """Makes so many operations.

    Args:
        count: How many.
        seed: Decides what they are; the names that the server makes are chance's.
        folder: For the server's data and log; empty.
        seconds: After which no further one begins; None: all do.

    Returns:
        What was done and seen.

    Raises:
        AssertionError: A tenant was sent what is another's, or something else was not as it must be.
    """
    loop = asyncio.get_running_loop()
    async with _served(seed, folder) as (tenants, echo):
        driver = Driver(tenants, seed=seed)
        begun = loop.time()

        def numbers() -> Iterator[int]:
            for number in range(count):
                if (seconds is not None and loop.time() > begun + seconds) or len(driver.found.wrong) > 50:
                    return
                yield number

        left = numbers()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_AT_ONCE):
                tasks.create_task(driver.work(left))
        took = loop.time() - begun
        counted = await driver.census()
    found, ledger = driver.found, driver.ledger
    wrong = found.wrong + echo.mixed
    assert not wrong, f"seed {seed}, {found.operations} operations, {len(wrong)} wrong:\n" + "\n".join(wrong[:20])
    return {
        "operations": found.operations,
        "foreign": found.foreign,
        "methods": len(found.methods),
        "foreign_methods": len(found.foreign_methods),
        "replies": ledger.replies,
        "bytes": ledger.bytes,
        "own_marks": ledger.own_marks,
        "census": counted,
        "outcomes": dict(sorted(found.outcomes.items())),
        "seconds": round(took, 1),
    }


@asynccontextmanager
async def _served(seed: int, folder: Path) -> AsyncIterator[tuple[tuple[Tenant, Tenant], Echo]]:
    chance = random.Random(f"{seed}/tenants")  # noqa: S311 (marks)
    marks = ["".join(chance.choices(string.ascii_lowercase, k=20)) for _ in range(4)]
    tokens = {name: secrets.token_urlsafe(24) for name in ("acme", "globex")}
    async with echoing(marks[:2]) as echo:
        settings = folder / "settings.toml"
        settings.write_text(_SETTINGS.format(url=echo.url, **tokens))
        server = serving(folder / "data", "--config", str(settings))
        target = (await asyncio.to_thread(server.__enter__)).target
        tenants = [
            Tenant(name, token, marks[place], marks[2 + place], Channel(target, token))
            for place, (name, token) in enumerate(tokens.items())
        ]
        try:
            yield (tenants[0], tenants[1]), echo
        finally:
            for tenant in tenants:
                await tenant.channel.close()
            await asyncio.to_thread(server.__exit__, None, None, None)


def _any_of(requests: tuple[tuple[float, NamedRequest], ...], chance: random.Random) -> NamedRequest:
    return chance.choices([make for _, make in requests], [often for often, _ in requests])[0]


def _nobodys(part: str, chance: random.Random) -> str:
    """An id of the same form that nobody has; words of a name, and what both have, stay."""
    if part in {"corpora", "documents", "answers", "chats", "turns", *SHARED_IDS}:
        return part
    letters = "0123456789abcdef"
    return "".join(chance.choice(letters) if letter in letters else letter for letter in part)


def _first(request: Request) -> Any:
    message = request.message if isinstance(request.message, Message) else request.message[0]
    return getattr(message, "header", message)


def _parent_of(request: Request) -> str:
    message = _first(request)
    return str(getattr(message, "parent", "") or getattr(message, "chat", "") or "")


def _set_request_id(request: Request, request_id: str) -> None:
    message = _first(request)
    if "request_id" in message.DESCRIPTOR.fields_by_name and not isinstance(message, answers.CancelAnswerRequest):
        message.request_id = request_id


def _anew(request: Request, mine: Tenant, chance: random.Random) -> Request:
    """The same, with another request_id where it has one."""
    _set_request_id(request, mine.request_id(chance))
    return request
