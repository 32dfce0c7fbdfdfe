"""One question to one provider's API, answered by canned bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from headwater.v1 import assistant_service_pb2
from headwater_server.errors import InvalidRequest, ServiceError
from tests.assistant.asking import CALLER, Heard, a_request, ask
from tests.assistant.cores import KEY, core_at
from tests.assistant.fake_provider import Canned, fake_provider


@dataclass
class Talk:
    """What was asked and heard."""

    heard: Heard
    path: str
    headers: Mapping[str, str]
    body: dict[str, object]


@dataclass(frozen=True)
class Api:
    """One API: its name, and a whole answer with which it may be answered where the answer does not matter."""

    name: str
    an_answer: Sequence[bytes] = ()
    options: Mapping[str, object] = field(default_factory=dict)
    model: str = "m"

    async def talk(
        self,
        pieces: Sequence[bytes] | None = None,
        *,
        sources: Sequence[str] = (),
        options: Mapping[str, object] | None = None,
        **more: Any,
    ) -> Talk:
        """Asks, and hears these pieces of a body; more are fields of the request."""
        request = a_request("Hello?", assistant=f"fake/{self.model}", sources=sources, **more)
        return await self.asked(request, Canned(self.an_answer if pieces is None else pieces), options=options)

    async def asked(
        self,
        request: assistant_service_pb2.StreamGenerateRequest,
        canned: Canned,
        *,
        options: Mapping[str, object] | None = None,
        heard: Heard | None = None,
    ) -> Talk:
        """Asks this."""
        chosen = {**self.options, **(options or {})}
        async with fake_provider() as provider, core_at(self._url(provider.url), api=self.name, options=chosen) as core:
            provider.canned = canned
            heard = await ask(core, request, heard)
        line, headers, body = provider.requests[0]
        assert isinstance(body, dict)
        return Talk(heard, line.split()[1], headers, body)

    async def failure(self, canned: Canned | Sequence[bytes], heard: Heard | None = None) -> ServiceError:
        """Asks, and returns the failure; checks that it names the provider and not the key."""
        request = a_request("Hello?", assistant=f"fake/{self.model}")
        with pytest.raises(ServiceError) as raised:
            await self.asked(request, canned if isinstance(canned, Canned) else Canned(canned), heard=heard)
        assert raised.value.metadata["provider"] == "fake"
        assert KEY not in repr(vars(raised.value))
        return raised.value

    async def refusal(self, **generation: object) -> InvalidRequest:
        """Asks with these settings, and returns the refusal; checks that the provider was not asked."""
        async with fake_provider() as provider, core_at(self._url(provider.url), api=self.name) as core:
            provider.canned = Canned(self.an_answer)
            with pytest.raises(InvalidRequest) as raised:
                await ask(core, a_request("Hello?", assistant=f"fake/{self.model}", generation=generation))
            assert not provider.requests
        return raised.value

    async def models(self, document: object) -> list[tuple[str, str, int]]:
        """The names, display names and contexts of the models listed from this document."""
        async with fake_provider() as provider, core_at(self._url(provider.url), api=self.name) as core:
            provider.canned = Canned([json.dumps(document).encode()], headers=["content-type: application/json"])
            listed = await core.list_assistants(assistant_service_pb2.ListAssistantsRequest(), CALLER)
        prefix = "assistants/fake/"
        return [
            (found.name.removeprefix(prefix), found.display_name, found.context_tokens)
            for found in listed.assistants
            if found.name.startswith(prefix)
        ]

    @staticmethod
    def _url(url: str) -> str:
        return url.removesuffix("/v1")
