"""`builtin/extractive`: answers without a model, by quoting the sentences that answer best."""

from __future__ import annotations

from headwater_server.assistant.extractive.assistant import ExtractiveAssistant, provider

__all__ = ["ExtractiveAssistant", "provider"]
