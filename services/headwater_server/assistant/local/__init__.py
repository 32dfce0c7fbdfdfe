"""Models on this machine's disk: GGUF files, run by llama.cpp in a process of their own."""

from headwater_server.assistant.local.provider import provider

__all__ = ["provider"]
