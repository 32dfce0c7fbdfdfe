"""Which pages and documents a recorded answer cites, read from the whole body in the plainest way.

Recorded citations are of what the provider itself searched, so that the suite presents these pages as sources: then
each citation has one to point at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from headwater.v1 import source_pb2
from tests.fidelity.recordings import Recording


def sources_cited(recording: Recording) -> list[source_pb2.Source]:
    """A source for every page or text that the recording cites, with all the words that it quotes."""
    quotes: dict[str, list[str]] = {}
    for where, quote in _cited(recording):
        quotes.setdefault(where, []).append(quote)
    return [
        source_pb2.Source(
            title=f"Page {number}",
            uri=where if "://" in where else "",
            content="\n".join(dict.fromkeys(words)) or where,
        )
        for number, (where, words) in enumerate(quotes.items(), start=1)
    ]


def _cited(recording: Recording) -> Iterator[tuple[str, str]]:
    """Pages, or texts in place of them, and what is quoted of each."""
    for event in _documents(recording):
        match recording.protocol:
            case "anthropic" if event.get("delta", {}).get("type") == "citations_delta":
                citation = event["delta"]["citation"]
                yield citation.get("url") or citation.get("source") or "documents", citation.get("cited_text") or ""
            case "openai-responses" if event.get("type") == "response.output_text.annotation.added":
                if event["annotation"].get("type") == "url_citation":
                    yield event["annotation"]["url"], ""
            case "gemini" | "gemini-array":
                for candidate in event.get("candidates") or []:
                    for chunk in candidate.get("groundingMetadata", {}).get("groundingChunks", []):
                        found = chunk.get("retrievedContext") or chunk.get("web") or {}
                        yield found.get("uri") or found.get("text") or "", found.get("text") or ""
            case "cohere" if event.get("type") == "citation-start":
                for source in event["delta"]["message"]["citations"].get("sources", []):
                    document = source.get("document", {})
                    yield (
                        document.get("url") or source.get("id", ""),
                        document.get("snippet") or document.get("text", ""),
                    )
            case _:
                pass


def _documents(recording: Recording) -> Iterator[dict[str, Any]]:
    if recording.protocol == "gemini-array":
        yield from json.loads(recording.body)
        return
    for line in re.split(rb"\r\n|\n|\r", recording.body):
        data = line.removeprefix(b"data:").strip()
        if data.startswith(b"{"):
            yield json.loads(data)


def citations_to_find(recording: Recording) -> int:
    """How many pieces of evidence must come out, with the sources of `sources_cited` presented.

    As many as the manifest counts, except where a provider only lists pages that it read, without saying which words of
    the answer rest on them: those are no citations of ours.
    """
    return int(recording.expected["citations"]) if sources_cited(recording) else 0
