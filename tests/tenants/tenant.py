"""A tenant: its marks, which are in all that it sends, and what it owns."""

from __future__ import annotations

import random
import re
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from tests.tenants.wire import Channel, Reply, Request

SHARED_IDS = ("default", "shared", "handbook")
"""Corpora that both tenants have under the same name."""
_MADE = re.compile(rb"(?:answers|turns|chats)/[A-Za-z0-9._~-]+|[0-9a-f]{64}")
"""Names that the server makes, and checksums of contents."""
_WORDS = ("river", "leave", "policy", "holiday", "spring", "handbook", "water", "annual")


class Names:
    """Names, one of which can be chosen at random, however many there are."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._names: list[str] = []

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._names))

    def add(self, name: str) -> None:
        """Adds one, unless it is there."""
        if name not in self._places:
            self._places[name] = len(self._names)
            self._names.append(name)

    def discard(self, name: str) -> None:
        """Removes one, if it is there."""
        if (place := self._places.pop(name, None)) is not None:
            last = self._names.pop()
            if last != name:
                self._names[place] = last
                self._places[last] = place

    def any(self, chance: random.Random) -> str | None:
        """One of them; None if there is none."""
        return chance.choice(self._names) if self._names else None


@dataclass(slots=True)
class Tenant:
    """What is known of one of the two."""

    name: str
    token: str
    mark: str
    """In every text, title, label and value that it sends."""
    id_mark: str
    """In every id that it chooses."""
    channel: Channel
    live: defaultdict[str, Names] = field(default_factory=lambda: defaultdict(Names))
    """Names of what it has, by kind: corpus, document, answer, chat, turn, request_id."""
    sent: set[bytes] = field(default_factory=set)
    """Names, and ids in them, that it has used, whoever's they are: it may be told them again, in what it has kept."""
    in_chats: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Its answers, by the chat they are in."""
    deleted: set[str] = field(default_factory=set)
    """The names that it has asked to be deleted, until it makes them anew."""
    tokens: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Page tokens, by the list they belong to."""
    requests: dict[str, Request] = field(default_factory=dict)
    """What was asked with a request_id, by that."""
    asked_for: set[str] = field(default_factory=set)
    """Request_ids of the other's that it has asked for: it must not use them itself, or they would be its own."""

    def text(self, chance: random.Random, words: int = 6) -> str:
        """Some words that both tenants use, and its mark."""
        return f"{' '.join(chance.choices(_WORDS, k=words))} {self.mark} {chance.randrange(10**6)}."

    def document(self, chance: random.Random) -> bytes:
        """A document with the mark in each of its sentences."""
        return "\n\n".join(self.text(chance, 12) for _ in range(chance.randrange(1, 4))).encode()

    def new_id(self, chance: random.Random) -> str:
        """An id of its own."""
        return f"{self.id_mark}-{chance.getrandbits(40):010x}"

    def request_id(self, chance: random.Random) -> str:
        """A new one."""
        return str(uuid.UUID(int=chance.getrandbits(128), version=4))


class Ledger:
    """Who owns what the server has made, and what must be in nobody else's replies."""

    def __init__(self, tenants: Iterable[Tenant]) -> None:
        self._tenants = list(tenants)
        self._owners: dict[bytes, Tenant] = {}
        self.replies = 0
        self.bytes = 0
        self.own_marks = 0
        """Replies that had the tenant's own mark: that there is something to be seen."""

    def claim(self, name: str, tenant: Tenant) -> str | None:
        """Notes that a name is a tenant's; returns what is wrong where it is another's."""
        owner = self._owners.setdefault(name.encode(), tenant)
        return None if owner is tenant else f"{name} of {owner.name} was given to {tenant.name}"

    def look(self, reply: Reply, tenant: Tenant) -> list[str]:
        """What of another's is in a reply: its content, and names that this tenant has not used itself."""
        self.replies += 1
        wrong: list[str] = []
        seen = False
        for place in reply.places():
            self.bytes += len(place)
            seen |= tenant.mark.encode() in place
            found = [f"bytes of {other.name}" for other in self._others(tenant) if other.mark.encode() in place]
            found += [f"the name {name!r}" for name in self._names_of_others(place, tenant) if name not in tenant.sent]
            wrong += [f"{tenant.name} was sent {what}: {place[:300]!r}" for what in found]
        self.own_marks += seen
        return wrong

    def _others(self, tenant: Tenant) -> list[Tenant]:
        return [other for other in self._tenants if other is not tenant]

    def _names_of_others(self, place: bytes, tenant: Tenant) -> Iterator[bytes]:
        for made in _MADE.findall(place):
            if self._owners.get(made, tenant) is not tenant:
                yield made
        for other in self._others(tenant):
            mark = other.id_mark.encode()
            if mark in place:
                yield from re.findall(rb"[A-Za-z0-9._~-]*%s[A-Za-z0-9._~-]*" % mark, place)


def parts(name: str) -> list[str]:
    """A name, the names in it, and the ids, which refusals repeat."""
    ids = name.split("/")
    return [name, *("/".join(pair) for pair in pairwise(ids)), *(part for part in ids if len(part) > 8)]
