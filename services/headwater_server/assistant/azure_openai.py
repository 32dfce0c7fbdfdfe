"""Assistants behind Azure OpenAI: chat completions of a deployment, whose name is the model's.

https://learn.microsoft.com/azure/ai-services/openai/reference: without an `api_version` in the settings the API's own
version 1 is used, which takes the deployment in the request; with one, the deployment stands in the URL. The content
filter's verdicts come with each event; one that matters also ends the text, or refuses the prompt.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from headwater_server.assistant.openai_chat import ChatOptions, chat_document
from headwater_server.assistant.openai_stream import ChatStream
from headwater_server.assistant.protocol import Event, GenerateRequest, Model, Provider, ProviderSettings
from headwater_server.assistant.provider_options import ProviderOptions
from headwater_server.assistant.provider_stream import answered, client_of
from headwater_server.errors import InvalidRequest
from headwater_server.outgoing.endpoints import path_segment
from headwater_server.outgoing.http import HttpClient
from headwater_server.outgoing.sse import EventParser


class AzureAssistant:
    """One deployment."""

    def __init__(self, model: Model, http: HttpClient, options: ChatOptions, *, api_version: str) -> None:
        self.model = model
        self._http = http
        self._options = options
        self._api_version = api_version

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """Answers; see `Assistant.generate`."""
        document = chat_document(request, model=self.model.id, options=self._options)
        reader = ChatStream(self._http.errors)
        return answered(self._http, self._path(), document, parser=EventParser(), reader=reader)

    def _path(self) -> str:
        if not self._api_version:
            return "/openai/v1/chat/completions"
        try:
            deployment = path_segment(self.model.id)
        except ValueError as error:
            raise InvalidRequest("assistant", "is not the name of a deployment") from error
        return f"/openai/deployments/{deployment}/chat/completions?api-version={self._api_version}"


class AzureProvider:
    """One resource of Azure OpenAI, and its deployments."""

    def __init__(self, settings: ProviderSettings) -> None:
        """Makes the provider; connects to nothing yet.

        Raises:
            ValueError: A setting is not as it must be.
        """
        options = ProviderOptions("azure-openai", settings)
        api_version = options.text("api_version", default="")
        limit = options.text("max_tokens_field", default="max_completion_tokens")
        include_usage = options.boolean("include_usage", default=True)
        options.refuse_others()
        if not settings.base_url:
            raise ValueError(f"assistants.{settings.name}.base_url: where is the resource? Set AZURE_OPENAI_ENDPOINT")
        if not all(character.isalnum() or character == "-" for character in api_version):
            raise ValueError(f"assistants.{settings.name}.api_version: must be a version such as 2024-10-21")
        self._api_version = api_version
        self._options = ChatOptions(include_usage=include_usage, max_tokens_field=limit)
        self._settings = settings
        self._http = client_of(
            settings, settings.base_url.removesuffix("/v1").removesuffix("/openai"), key_header="api-key"
        )

    def assistant(self, model: str) -> AzureAssistant:
        """The assistant of a deployment, whether there is one or not."""
        settings = self._settings
        known = Model(model, context_tokens=settings.context_tokens, max_output_tokens=settings.max_output_tokens)
        return AzureAssistant(known, self._http, self._options, api_version=self._api_version)

    async def models(self) -> Sequence[Model]:
        """None: the API lists what could be deployed, and not what is; `models` of the settings names that."""
        return []

    async def warm(self) -> None:
        """Opens a connection for the next request; sends nothing."""
        await self._http.warm()

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._http.aclose()


def provider(settings: ProviderSettings) -> Provider:
    """Makes a provider of assistants behind Azure OpenAI: the entry point `azure-openai`.

    Raises:
        ValueError: A setting is not as it must be.
    """
    return AzureProvider(settings)
