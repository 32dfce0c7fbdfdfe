"""Assistants that are GGUF files on this machine: `local/NAME`."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path, PurePosixPath

import anyio
from anyio import to_thread

from headwater_server.assistant.local.config import DEFAULT_CONTEXT, LocalOptions
from headwater_server.assistant.local.process import LoadedModel, load
from headwater_server.assistant.protocol import Assistant, Event, GenerateRequest, Model, Provider, ProviderSettings
from headwater_server.errors import Overloaded, Reason, ResourceNotFound, ServiceError
from headwater_server.names import assistant_name

_SUFFIX = ".gguf"
_MAX_FILES = 10_000


class LocalProvider:
    """A folder of models, each loaded when it is first asked, and kept until another needs its place."""

    def __init__(self, settings: ProviderSettings) -> None:
        """Makes the provider; loads nothing yet.

        Raises:
            ValueError: A setting is not as it must be.
        """
        self._settings = settings
        self._options = LocalOptions.of(settings.options, provider=settings.name)
        self._context = settings.context_tokens or DEFAULT_CONTEXT
        self._loaded: dict[str, LoadedModel] = {}  # the one that was asked last is last
        self._loading = anyio.Lock()

    def assistant(self, model: str) -> Assistant:
        """The assistant of a model, whether there is a file of that name or not."""
        return LocalAssistant(self, self._model(model))

    async def models(self) -> Sequence[Model]:
        """The models in the folder."""
        return [self._model(name) for name in await to_thread.run_sync(self._names)]

    async def aclose(self) -> None:
        """Ends all processes."""
        while self._loaded:  # others may change it while one is being closed
            _, loaded = self._loaded.popitem()
            await loaded.close()

    async def loaded(self, model: str) -> LoadedModel:
        """A model in memory, loaded now if it has to be.

        Raises:
            ResourceNotFound: There is no such file.
            Overloaded: All that are in memory are at work, and there may be no more.
            ServiceError: It cannot be loaded (PROVIDER_REJECTED, or PROVIDER_UNAVAILABLE where that may pass).
        """
        found = self._in_memory(model)
        if found is None:
            async with self._loading:
                found = self._in_memory(model)  # it may have been loaded while we waited
                if found is None:
                    found = self._loaded[model] = await self._load(model)
        return found

    def _in_memory(self, model: str) -> LoadedModel | None:
        found = self._loaded.get(model)
        if found is None or not found.alive:
            return None
        self._loaded[model] = self._loaded.pop(model)
        return found

    async def _load(self, model: str) -> LoadedModel:
        path = await to_thread.run_sync(self._path, model)
        if importlib.util.find_spec("xllamacpp") is None:
            raise ServiceError(
                Reason.PROVIDER_REJECTED,
                f"{self._settings.name} needs the package xllamacpp for models on disk: install 'headwater[local]'",
                metadata={"provider": self._settings.name},
            )
        crashed = self._loaded.pop(model, None)
        if crashed is not None:
            await crashed.close()
        await self._make_room()
        return await load(model, path, self._options, self._settings, context=self._context)

    async def _make_room(self) -> None:
        while len(self._loaded) >= self._options.max_loaded:
            idle = next((name for name, loaded in self._loaded.items() if not loaded.answers), None)
            if idle is None:
                raise Overloaded(
                    f"the {len(self._loaded)} models in memory are all at work, and no more may be loaded "
                    f"(assistants.{self._settings.name}.max_loaded)",
                    retry_after=5.0,
                    metadata={"limit": "local models", "maximum": str(self._options.max_loaded)},
                )
            await self._loaded.pop(idle).close()

    def _path(self, model: str) -> Path:
        """The file of a model.

        Raises:
            ResourceNotFound: There is none. A name that leads out of the folder has none either.
        """
        name = assistant_name(f"{self._settings.name}/{model}")
        parts = PurePosixPath(model).parts
        if not parts or model.startswith("/") or ".." in parts or "\0" in model:
            raise ResourceNotFound(name)
        path = self._options.folder.joinpath(*parts).with_name(parts[-1] + _SUFFIX)
        if not path.is_file():
            raise ResourceNotFound(
                name, f"{name} does not exist: there is no such {_SUFFIX} file in the folder of models"
            )
        return path

    def _names(self) -> list[str]:
        folder = self._options.folder
        if not folder.is_dir():
            return []
        paths = sorted(path for path in folder.rglob(f"*{_SUFFIX}") if path.is_file())
        return [path.relative_to(folder).as_posix().removesuffix(_SUFFIX) for path in paths[:_MAX_FILES]]

    def _model(self, name: str) -> Model:
        return Model(id=name, context_tokens=self._context, max_output_tokens=self._settings.max_output_tokens)


class LocalAssistant:
    """One model of a folder."""

    def __init__(self, provider: LocalProvider, model: Model) -> None:
        self._provider = provider
        self.model = model

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """Answers; see `Assistant.generate`."""
        begun = False
        loaded = await self._provider.loaded(self.model.id)
        try:
            async with _events(loaded, request) as events:
                async for event in events:
                    begun = True
                    yield event
        except ServiceError as error:
            if begun or error.reason is not Reason.PROVIDER_UNAVAILABLE or not await loaded.dies():
                raise
        else:
            return
        loaded = await self._provider.loaded(self.model.id)  # it had died before it was asked
        async with _events(loaded, request) as events:
            async for event in events:
                yield event


@asynccontextmanager
async def _events(loaded: LoadedModel, request: GenerateRequest) -> AsyncGenerator[AsyncGenerator[Event]]:
    """What a model in memory says; it counts as at work meanwhile."""
    loaded.answers += 1
    try:
        async with aclosing(loaded.assistant.generate(request)) as events:
            yield events
    finally:
        loaded.answers -= 1


def provider(settings: ProviderSettings) -> Provider:
    """Makes a provider of models on disk: the entry point `local`.

    Raises:
        ValueError: A setting is not as it must be.
    """
    if settings.base_url or settings.api_key:
        raise ValueError(f"assistants.{settings.name}: a local model has neither base_url nor api_key")
    return LocalProvider(settings)
