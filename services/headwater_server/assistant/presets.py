"""Providers that are there without a table of their own, as soon as one of their variables is set.

A preset is data: which API it speaks, where it is, and which environment variables hold its place and its key. What
differs from the API's defaults stands in `options`, as it would in a table of the settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from headwater_server.assistant.config import NamedProvider


@dataclass(frozen=True, slots=True)
class Preset:
    """One provider."""

    api: str
    """The name of the entry point that talks to it."""
    base_url: str = ""
    """Where it is. Empty: the API's own default."""
    base_url_env: str = ""
    """The variable that says where else it is. Empty: `<PROVIDER>_BASE_URL`."""
    api_key_env: str = ""
    """The variable that holds its key. Empty: `<PROVIDER>_API_KEY`."""
    port: int = 0
    """The port if the variable may name a bare host, as Ollama's does. 0: it holds a URL."""
    options: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    """Further keys of its table."""


def _chat(base_url: str, **options: object) -> Preset:
    return Preset("openai-chat", base_url, options=MappingProxyType(options))


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "anthropic": Preset("anthropic"),
        "azure": Preset("azure-openai", base_url_env="AZURE_OPENAI_ENDPOINT", api_key_env="AZURE_OPENAI_API_KEY"),
        "cohere": Preset("cohere", base_url_env="CO_API_URL", api_key_env="CO_API_KEY"),
        "deepseek": Preset("deepseek"),
        "gemini": Preset("gemini"),
        "mistral": Preset("mistral"),
        "ollama": Preset("ollama", base_url_env="OLLAMA_HOST", port=11434),
        "openai": Preset("openai-chat"),
        "perplexity": Preset("perplexity"),
        # OpenAI-compatible services
        "ai21": _chat("https://api.ai21.com/studio/v1", lacks=("seed",)),
        "fireworks": _chat("https://api.fireworks.ai/inference/v1"),
        "groq": _chat("https://api.groq.com/openai/v1"),
        "huggingface": _chat("https://router.huggingface.co/v1"),
        "moonshot": _chat("https://api.moonshot.ai/v1", lacks=("seed",)),
        "nvidia": _chat("https://integrate.api.nvidia.com/v1"),
        "openrouter": _chat("https://openrouter.ai/api/v1", require_parameters=True),
        "together": _chat("https://api.together.xyz/v1"),
        "xai": _chat("https://api.x.ai/v1"),
        # OpenAI-compatible servers, where they listen unless told otherwise
        "litellm": _chat("http://127.0.0.1:4000/v1"),
        "llamacpp": _chat("http://127.0.0.1:8080/v1", continues="llama.cpp"),
        "llamafile": _chat("http://127.0.0.1:8080/v1"),
        "lmstudio": _chat("http://127.0.0.1:1234/v1"),
        "sglang": _chat("http://127.0.0.1:30000/v1", continues="vllm"),
        "vllm": _chat("http://127.0.0.1:8000/v1", continues="vllm"),
    }
)


def variables_of(name: str) -> tuple[str, str]:
    """The variables of a preset: where it is, and its key.

    Raises:
        KeyError: There is no such preset.
    """
    preset = PRESETS[name]
    return preset.base_url_env or f"{name.upper()}_BASE_URL", preset.api_key_env or f"{name.upper()}_API_KEY"


def preset_tables(environ: Mapping[str, str]) -> dict[str, NamedProvider]:
    """The tables of those presets of which a variable is set."""
    tables: dict[str, NamedProvider] = {}
    for name, preset in PRESETS.items():
        url, key = (environ.get(variable, "").strip() for variable in variables_of(name))
        if url or key:
            base_url = _host_url(url, preset.port) if url and preset.port else url
            tables[name] = NamedProvider(
                api=preset.api, base_url=base_url or preset.base_url, api_key=key, options=preset.options
            )
    return tables


def _host_url(host: str, port: int) -> str:
    """The URL of a server at a host, `host`, `host:port`, `:port` or a URL already.

    A server told to listen on all addresses is asked on this machine's own.
    """
    if "://" in host:
        return host
    name, colon, digits = host.rpartition(":")
    if not colon or digits.endswith("]"):  # no port; brackets hold an IPv6 address
        name, digits = host, str(port)
    return f"http://{'127.0.0.1' if name in {'', '0.0.0.0'} else name}:{digits}"  # noqa: S104 (compared, not listened on)
