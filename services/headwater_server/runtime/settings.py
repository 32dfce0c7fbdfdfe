"""Settings: a TOML file, `HEADWATER_…` environment variables and flags, in rising order, in one typed place.

A nested setting is a table in the file, and two underscores in the environment: `HEADWATER_LIMITS__FIRST_TOKEN=20`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from headwater_server.runtime.masking import password_in

Seconds = Annotated[float, Field(gt=0, le=24 * 3600)]


DEFAULT_PORTS = {"retrieval": 50052, "assistant": 50053}
"""Where the services listen that stand apart; the orchestrator, and all in one, at 50051."""


class SettingsError(Exception):
    """The settings are not as they must be; the message names each and says where it was set."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LimitSettings(_Table):
    """How long an answer may take, in seconds, where the request does not say."""

    first_token: Seconds = 60
    """Until the first text or reasoning."""
    between_tokens: Seconds = 30
    """Between two pieces of text or reasoning."""
    total: Seconds = 600
    """Until the end."""
    heartbeat: Seconds = 15
    """The silence after which a reader gets a heartbeat."""
    answers: Annotated[int, Field(ge=1, le=100_000)] = 256
    """How many answers may run at once; one more is refused with OVERLOADED."""
    least_answers: Annotated[int, Field(ge=1, le=100_000)] = 64
    """How many of them may run however much the server has to do."""
    lateness: Annotated[float, Field(gt=0, le=60)] = 0.02
    """How late the server may be with what it has to do, in seconds, half of the time: if it is later, it refuses more
    answers than `least_answers` with OVERLOADED, until it has caught up."""
    buffer_bytes: Annotated[int, Field(ge=1024 * 1024)] = 512 * 1024**2
    """How much of all running answers may wait in memory for slow readers, in bytes, before new ones are refused."""


class AnswerSettings(_Table):
    """How answers are kept, so that they can be resumed, and got again."""

    log: Literal["files", "memory"] = "files"
    """`files`: in the data folder, through crashes and restarts. `memory`: nothing of an answer is ever on the disk."""
    keep: Annotated[float, Field(ge=3600, le=365 * 24 * 3600)] = 3600
    """How long an answer is kept once it has ended, in seconds."""
    max_file_bytes: Annotated[int, Field(ge=16 * 1024 * 1024)] = 4 * 1024**3
    """How much all answers may take in files, in bytes; those that ended first are forgotten first."""
    max_memory_bytes: Annotated[int, Field(ge=16 * 1024 * 1024)] = 256 * 1024**2
    """How much all answers may take in memory, where they are kept there, in bytes."""
    sync: bool = False
    """Whether what was sent survives a loss of power too, which costs a write to the disk itself for each event.
    Without it, it survives the death of any process."""


class ChatSettings(_Table):
    """How chats are kept, and what is searched for in them."""

    url: Annotated[str, Field(repr=False)] = ""
    """The database, `postgresql://user:password@host/database`, which several servers may share; needs the extra
    `postgres`. Empty: a file in the data folder."""
    follow_up: Literal["turns", "assistant", "prompt"] = "turns"
    """What is searched for where a prompt follows others. `turns`: the prompt, and what it leaves out of the prompts
    before it. `assistant`: what the assistant makes of both, which costs a call to it; as `turns` where that fails.
    `prompt`: the prompt alone."""
    max_chats: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    """How many chats a tenant may have; one more is refused with QUOTA_EXCEEDED."""
    max_turns: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000
    """How many turns a chat may have; one more is refused with QUOTA_EXCEEDED."""


class FailoverSettings(_Table):
    """What is done where an assistant fails before it has said anything; after that nothing ever is."""

    fallbacks: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """The assistants that stand in for one, in this order, such as
    `fallbacks = { "openai/gpt-5" = ["anthropic/claude-opus-5", "local/qwen"] }`; never after a refusal (400, 401, 403).
    """
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    """How often the same assistant is asked again after a failure that may pass."""
    first_delay: Annotated[float, Field(gt=0, le=60)] = 0.5
    """How long to wait before that at most, in seconds; twice as long before each further time."""
    longest_delay: Annotated[float, Field(gt=0, le=300)] = 8
    """How long to wait at most, in seconds. A provider that asks for more is not waited for."""
    budget: Annotated[float, Field(ge=0, le=10)] = 0.2
    """How many times a provider is asked again for each request, in the long run."""
    failures_to_rest: Annotated[int, Field(ge=0, le=1000)] = 10
    """After how many failures in a row an assistant is left alone for a while. 0: never."""
    rest: Seconds = 15
    """For how long it is, in seconds; then one request tries it."""
    first_event: Annotated[float, Field(ge=0, le=600)] = 30
    """How long an assistant that has another to stand in for it may say nothing, in seconds; then that one is asked.
    Useful only below `limits.first_token`, which ends the answer. 0: as long as that."""
    hedge_after: Annotated[float, Field(ge=0, le=600)] = 0
    """The silence at the beginning, in seconds, after which the next assistant, or the same once more, is asked as
    well: the first that speaks is heard. 0: never, because both are paid for."""


class RetrievalSettings(_Table):
    """How documents are read and searched."""

    top_k: Annotated[int, Field(ge=1, le=100)] = 8
    """How many sources at most, where the request does not say."""
    workers: Annotated[int, Field(ge=1, le=256)] | None = None
    """How many processes parse and embed. Unset: one less than there are CPUs, at least one."""
    max_document_bytes: Annotated[int, Field(ge=1, le=2**31 - 1)] = 256 * 1024 * 1024
    """The largest document taken, in bytes."""
    waiting_documents: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    """How many documents may wait to be read. More are refused until there are fewer."""
    watchers: Annotated[int, Field(ge=1, le=1_000_000)] = 2_048
    """How many calls may follow the work on documents at once, uploads that wait for its end among them."""
    document_timeout: Seconds = 3600
    """How long a worker may take for one document, in seconds."""
    worker_memory_bytes: Annotated[int, Field(ge=256 * 1024 * 1024)] = 2 * 1024**3
    """How much memory a worker may take, in bytes."""
    passage_characters: Annotated[int, Field(ge=100, le=4096)] = 1000
    """How long a passage is at most, in characters, where its corpus does not say."""
    overlap_characters: Annotated[int, Field(ge=0, le=2048)] = 0
    """How much of a passage's end begins the next as well, in characters, where the corpus does not say."""
    embedder: str = "builtin/all-MiniLM-L6-v2"
    """The embedder of new corpora that name none, `provider/model`: built in, or of a table `[embedders.NAME]`."""
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """What the built-in embedder runs on. `cuda` needs the extra `gpu`; `auto` takes a GPU where there is one."""
    reranker: str = ""
    """What puts the passages found into a better order, `provider/model` of a table `[rerankers.NAME]`. Empty: nothing
    but the search itself."""
    rerank_candidates: Annotated[int, Field(ge=1, le=100)] = 50
    """How many of the passages found the reranker is given."""

    @model_validator(mode="after")
    def _overlap(self) -> RetrievalSettings:
        if self.overlap_characters > self.passage_characters // 2:
            raise ValueError("overlap_characters must be at most half of passage_characters")
        return self


class AssistantSettings(_Table):
    """One named provider, `[assistants.NAME]`, used as `NAME/model`; other keys are its protocol's own options."""

    model_config = ConfigDict(extra="allow", frozen=True)

    api: str
    """The protocol it speaks, such as `openai-chat`: the name of an entry point of the group `headwater.assistants`."""
    base_url: str = ""
    """Where it is, up to and without `/chat/completions`. Empty: the protocol's own default, where it has one."""
    api_key: SecretStr | None = None
    """Its key, if it wants one."""
    api_key_env: str | None = None
    """The environment variable that holds its key, instead of `api_key`."""
    models: tuple[str, ...] = ()
    """Its models, where it cannot list them itself."""
    context_tokens: Annotated[int, Field(ge=256)] | None = None
    """How many tokens its context holds. Unset: what it says itself; where it says nothing, nothing is left out."""
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    """How many tokens its models write at most. Unset: unknown."""

    @model_validator(mode="after")
    def _one_key(self) -> AssistantSettings:
        if self.api_key is not None and self.api_key_env is not None:
            raise ValueError("set api_key or api_key_env, not both")
        return self


class EmbedderSettings(_Table):
    """One server of embeddings, `[embedders.NAME]`, used as `NAME/model`."""

    api: Literal["openai", "ollama", "tei", "cohere", "gemini"]
    """What it speaks. `openai` is the `/v1/embeddings` that many servers have."""
    base_url: str = ""
    """Where it is; for `openai` up to and without `/embeddings`. Empty: where the API's makers serve it."""
    api_key: SecretStr | None = None
    """Its key, if it wants one."""
    api_key_env: str | None = None
    """The environment variable that holds its key, instead of `api_key`."""
    dimension: Annotated[int, Field(ge=1, le=16_384)] | None = None
    """How many components its vectors have: asked for, and checked. Unset: as many as the model makes."""
    batch_texts: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """How many texts a request has at most. Unset: as many as the API takes."""
    batch_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """How many tokens the texts of a request have at most, by estimate. Unset: as many as the API takes."""
    concurrency: Annotated[int, Field(ge=1, le=1_000)] = 4
    """How many requests for passages run at once."""
    timeout: Seconds = 60
    """The silence after which a request counts as lost, in seconds."""
    query_prefix: str = ""
    """Put before questions, such as `query: ` for models of the E5 family."""
    document_prefix: str = ""
    """Put before passages, such as `passage: `."""
    max_characters: Annotated[int, Field(ge=100, le=1_000_000)] = 8_000
    """Longer texts are cut at their end before they are sent: some servers refuse what does not fit their model."""

    @model_validator(mode="after")
    def _one_key(self) -> EmbedderSettings:
        if self.api_key is not None and self.api_key_env is not None:
            raise ValueError("set api_key or api_key_env, not both")
        if max(len(self.query_prefix), len(self.document_prefix)) >= self.max_characters:
            raise ValueError("max_characters must leave room beside the prefixes")
        return self


class RerankerSettings(_Table):
    """One reranker, `[rerankers.NAME]`, used as `NAME/model` in `retrieval.reranker`."""

    api: Literal["cohere", "jina", "tei", "cross-encoder"]
    """What it speaks. `jina` is the `/v1/rerank` that many servers have; `cross-encoder` is a model on this machine."""
    base_url: str = ""
    """Where it is, up to and without `/rerank`. Empty: where the API's makers serve it."""
    api_key: SecretStr | None = None
    """Its key, if it wants one."""
    api_key_env: str | None = None
    """The environment variable that holds its key, instead of `api_key`."""
    path: Path | None = None
    """With `cross-encoder`: the folder that has a folder for each model, with `model.onnx` and `tokenizer.json`."""
    timeout: Annotated[float, Field(gt=0, le=300)] = 10
    """How long a search waits for the order before it does without, in seconds."""
    max_characters: Annotated[int, Field(ge=100, le=1_000_000)] = 4_000
    """Longer passages are cut at their end before they are sent."""

    @model_validator(mode="after")
    def _one_key(self) -> RerankerSettings:
        if self.api_key is not None and self.api_key_env is not None:
            raise ValueError("set api_key or api_key_env, not both")
        return self


class TlsSettings(_Table):
    """The server's certificate, and whose certificates it trusts."""

    cert: Path | None = None
    """The server's certificate chain, PEM."""
    key: Path | None = None
    """The certificate's private key, PEM."""
    client_ca: Path | None = None
    """If set, clients must show a certificate signed by one of these, PEM."""
    upstream_ca: Path | None = None
    """Apart: who signs the other services' certificates, PEM. Set, the orchestrator calls them over TLS."""

    @model_validator(mode="after")
    def _pair(self) -> TlsSettings:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key go together")
        if self.client_ca is not None and self.cert is None:
            raise ValueError("client_ca needs cert and key")
        return self


class LogSettings(_Table):
    """What the log says, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important event that is logged."""
    format: Literal["auto", "json", "console"] = "auto"
    """One JSON object a line, or lines for people. `auto`: for people on a terminal, else JSON."""


class Settings(BaseSettings):
    """All settings of a server."""

    model_config = SettingsConfigDict(
        env_prefix="HEADWATER_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    address: str = "127.0.0.1:50051"
    """Where gRPC listens, `host:port`; port 0 takes a free one. Apart: 50052 for retrieval, 50053 for the assistant."""
    front: Literal["grpc", "http2"] = "grpc"
    """What takes the calls there. `grpc`: gRPC's own core. `http2`: a front of ours, for many streams of small pieces,
    which costs less CPU for each."""
    insecure: bool = False
    """Whether to listen beyond loopback without TLS."""
    processes: Annotated[int, Field(ge=0, le=256)] = 1
    """How many processes take calls at the address, sharing the data folder and the limits. 0 or `auto`: as many as
    there are CPUs. 1: all is done in one."""
    data_dir: Path = Field(default_factory=lambda: Path(platformdirs.user_data_dir("headwater", appauthor=False)))
    """The folder that holds everything. It has one owner at a time."""
    retrieval_target: str = "127.0.0.1:50052"
    """Apart: where the orchestrator finds the retrieval service."""
    assistant_target: str = "127.0.0.1:50053"
    """Apart: where the orchestrator finds the assistant service."""
    assistant: str = "builtin/extractive"
    """The assistant of requests that name none, `provider/model`."""
    assistants: dict[str, AssistantSettings] = Field(default_factory=dict)
    """Named providers."""
    embedders: dict[str, EmbedderSettings] = Field(default_factory=dict)
    """Named servers of embeddings."""
    rerankers: dict[str, RerankerSettings] = Field(default_factory=dict)
    """Named rerankers."""
    prompt_template: Path | None = None
    """A template of prompts (Jinja2) in place of the built-in one."""
    tokens: dict[str, SecretStr] = Field(default_factory=dict)
    """Tenant to bearer token. Empty: no token is asked for, and there is one tenant, `local`."""
    channelz: bool = False
    """Whether to serve channelz, which shows the server's connections to whoever may call it; of the front `http2` only
    those that it makes itself."""
    keepalive: Annotated[float, Field(ge=0.1, le=3600)] = 1
    """The silence after which the other end of a connection with calls on it is asked whether it is alive, in seconds.
    It counts as gone when it has not answered for 1.8 times as long."""
    drain_notice: Annotated[float, Field(ge=0, le=3600)] = 0
    """How long to go on taking calls after health says NOT_SERVING, in seconds: longer than callers' health checks."""
    drain: Seconds = 20
    """How long running answers may go on after the server was asked to stop, in seconds."""
    limits: LimitSettings = LimitSettings()
    """Times and numbers."""
    answers: AnswerSettings = AnswerSettings()
    """How answers are kept."""
    chats: ChatSettings = ChatSettings()
    """Chats."""
    failover: FailoverSettings = FailoverSettings()
    """Assistants that fail."""
    retrieval: RetrievalSettings = RetrievalSettings()
    """Documents and search."""
    tls: TlsSettings = TlsSettings()
    """Certificates."""
    log: LogSettings = LogSettings()
    """The log."""

    @field_validator("processes", mode="before")
    @classmethod
    def _auto(cls, value: Any) -> Any:
        return 0 if value == "auto" else value

    @property
    def process_count(self) -> int:
        """How many processes take calls: what `processes` says, counted."""
        return self.processes or cpu_count()

    @field_validator("assistants", "embedders", "rerankers")
    @classmethod
    def _names(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        for name in value:
            if not name or not name[0].isalnum() or not all(c.isalnum() or c in "._-" for c in name):
                raise ValueError(f"{name!r} is no name for a provider: use letters, digits, `.`, `_`, `-`")
            if name == "builtin":
                raise ValueError(f"`builtin` is the name of the built-in {(info.field_name or '').rstrip('s')}")
        return value

    @field_validator("tokens")
    @classmethod
    def _tokens(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for tenant, token in value.items():
            if len(token.get_secret_value()) < 16:
                raise ValueError(f"the token of {tenant!r} is shorter than 16 characters")
        return value

    def secrets(self) -> Iterator[str]:
        """Every secret value, so that the log can mask them: those set here, and providers' keys in the environment."""
        yield from (value for name, value in os.environ.items() if name.endswith("_API_KEY") and len(value) >= 8)
        yield from (token.get_secret_value() for token in self.tokens.values())
        yield from password_in(self.chats.url)
        providers: list[AssistantSettings | EmbedderSettings | RerankerSettings] = [
            *self.assistants.values(),
            *self.embedders.values(),
            *self.rerankers.values(),
        ]
        for provider in providers:
            if provider.api_key is not None:
                yield provider.api_key.get_secret_value()
            elif provider.api_key_env is not None and os.environ.get(provider.api_key_env):
                yield os.environ[provider.api_key_env]


def cpu_count() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _FileSource(PydanticBaseSettingsSource):
    """The TOML file, already read."""

    def __init__(self, settings: type[BaseSettings], values: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self._values = values

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        del field
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return dict(self._values)


def _reading(values: Mapping[str, Any]) -> type[Settings]:
    """Settings that take `values` as their file, below the environment, below flags."""

    class Loaded(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del dotenv_settings, file_secret_settings  # we read neither
            return init_settings, env_settings, _FileSource(settings_cls, values)

    return Loaded


def load(*, config: Path | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """Reads the settings.

    Args:
        config: The TOML file. None: what `HEADWATER_CONFIG` names; if that is unset, no file.
        flags: What the command line says, by the settings' own names; nested tables as mappings. None is left out.

    Raises:
        SettingsError: The file cannot be read, or a setting is unknown or not as it must be.
    """
    named = config or (Path(os.environ["HEADWATER_CONFIG"]) if os.environ.get("HEADWATER_CONFIG") else None)
    values = _read(named) if named is not None else {}
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    try:
        return _reading(values)(**given)
    except ValidationError as error:
        raise SettingsError(_explained(error, named)) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read the settings in {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error


def _explained(error: ValidationError, path: Path | None) -> str:
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        name = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "there is no such setting"
        lines.append(f"{name or 'settings'}: {message}")
    where = f" (flags, HEADWATER_… and {path})" if path else " (flags and HEADWATER_…)"
    return "; ".join(lines) + where
