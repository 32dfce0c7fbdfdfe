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

Said = tuple[str, str, str]
"""The words of an answer that are cited for, the page or text they rest on, and how what is quoted of it begins."""


def sources_cited(recording: Recording) -> list[source_pb2.Source]:
    """A source for every page or text that the recording cites, with all the words that it quotes."""
    return [
        source_pb2.Source(
            title=f"Page {number}",
            uri=where if "://" in where else "",
            content="\n".join(dict.fromkeys(words)) or where,
        )
        for number, (where, words) in enumerate(pages_cited(recording).items(), start=1)
    ]


def pages_cited(recording: Recording) -> dict[str, list[str]]:
    """The pages and texts that the recording cites, in their order, each with what is quoted of it."""
    quotes: dict[str, list[str]] = {}
    for where, quote in _cited(recording):
        quotes.setdefault(where, []).append(quote)
    return quotes


def citations_said(recording: Recording) -> list[Said]:
    """What each piece of evidence must be, sorted: as the recording says it, which the provider's own offsets mean."""
    said: list[Said] = []
    texts: dict[tuple[int, int], str] = {}  # of each block of the answer
    cited: dict[tuple[int, int], list[tuple[str, str]]] = {}
    for event in _documents(recording):
        place = (event.get("output_index", 0), event.get("content_index", event.get("index", 0)))
        match recording.protocol, event.get("type"):
            case "anthropic", "content_block_delta":
                delta = event["delta"]
                texts[place] = texts.get(place, "") + (delta.get("text") or "")
                if delta["type"] == "citations_delta":
                    citation = delta["citation"]
                    where = citation.get("url") or citation.get("source") or "documents"
                    cited.setdefault(place, []).append((where, citation.get("cited_text") or ""))
            case "openai-responses", "response.output_text.delta":
                texts[place] = texts.get(place, "") + event["delta"]
            case "openai-responses", "response.output_text.annotation.added":
                note = event["annotation"]
                if note.get("type") == "url_citation":
                    said.append((texts[place][note["start_index"] : note["end_index"]], note["url"], ""))
            case "cohere", "citation-start":
                citation = event["delta"]["message"]["citations"]
                for source in citation.get("sources", []):
                    document = source.get("document", {})
                    quote = document.get("snippet") or document.get("text", "")
                    said.append((citation["text"], document.get("url") or source.get("id", ""), plain(quote)))
            case (("gemini" | "gemini-array"), _):
                said += _grounded(event)
            case _:
                pass
    said += [(texts[place].strip(), where, plain(quote)) for place, quotes in cited.items() for where, quote in quotes]
    return sorted(said)


def plain(quote: str) -> str:
    """The beginning of a quote, with single blanks: quotes are shortened, by providers and by us."""
    return " ".join(quote.split())[:80].removesuffix("...")


def _grounded(event: dict[str, Any]) -> Iterator[Said]:
    for candidate in event.get("candidates") or []:
        grounding = candidate.get("groundingMetadata", {})
        chunks = [
            chunk.get("retrievedContext") or chunk.get("web") or {} for chunk in grounding.get("groundingChunks", [])
        ]
        for support in grounding.get("groundingSupports", []):
            for chunk in (chunks[place] for place in support["groundingChunkIndices"]):
                words = chunk.get("text") or ""
                yield support["segment"]["text"], chunk.get("uri") or words, plain(words)


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
