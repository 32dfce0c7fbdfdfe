"""Parsers under random input: each takes its input from chance, and fails where the parser breaks its promise."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import google_crc32c

from headwater import DataLoss, HeadwaterError, ProtocolError
from headwater._transcript import Transcript
from headwater.v1 import answer_pb2, retrieval_service_pb2, source_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater_server.assistant.openai_stream import ChatStream
from headwater_server.assistant.protocol import Finished
from headwater_server.errors import InvalidRequest, Reason, ServiceError
from headwater_server.names import document_ids, document_name
from headwater_server.orchestrator.answer_log.files import AnswerFile, read_frames
from headwater_server.orchestrator.answer_log.frames import MAGIC
from headwater_server.orchestrator.answer_log.protocol import Entry, EventsLost
from headwater_server.outgoing.provider_errors import ProviderErrors
from headwater_server.outgoing.sse import EventParser, ServerSentEvent
from headwater_server.paging import PageTokens
from headwater_server.runtime.interceptors import check
from tests.malformed.attack import Damage
from tests.malformed.generating import NASTY_TEXTS, PLAUSIBLE_TEXTS, made
from tests.outgoing.cutting import cut
from tests.outgoing.plain_sse import PARTS, reference

Chance = random.Random

_MOST = 2**31 - 1
"""The largest sequence there can be."""
_PROVIDERS_FAULT = {reason for reason in Reason if reason.value.startswith("PROVIDER_")} | {Reason.CONTEXT_TOO_LARGE}


def answer_files(chance: Chance, folder: Path) -> None:
    """An answer's file with bits flipped, parts cut out, said twice, exchanged or put in is read as far as it is whole.

    No event is ever another than the one that was logged under its sequence, and whoever takes the file over goes on
    after the last whole one.
    """
    path = folder / "answer.log"
    events: list[bytes] = []
    for epoch in range(1, chance.choice((2, 2, 4))):
        owner = AnswerFile.take_over(path, epoch=epoch) if events else AnswerFile.create(path, epoch=epoch)
        more = [chance.randbytes(chance.choice((1, 5, 40, 300))) for _ in range(chance.randrange(1, 6))]
        owner.append(more)
        owner.close()
        events += more
    content = path.read_bytes()
    ends = [frame.end for frame in read_frames(path)]
    damaged = _damaged(content, chance)
    path.write_bytes(damaged)
    intact = next((at for at, pair in enumerate(zip(content, damaged, strict=False)) if pair[0] != pair[1]), None)
    intact = min(len(content), len(damaged)) if intact is None else intact
    whole = sum(end <= intact for end in ends)
    after = chance.randrange(len(events) + 2)
    with suppress(EventsLost):
        entries = [frame.entry for frame in read_frames(path)]
        assert entries == _numbered(events)[: len(entries)], "an event has changed"
        assert len(entries) >= whole, "an event that is whole was not read"
        later = [frame.entry for frame in read_frames(path, after=after, max_bytes=chance.choice((None, 1, 100)))]
        assert later == _numbered(events)[after : after + len(later)], "an event has changed"
        next_owner = AnswerFile.take_over(path, epoch=9)
        next_owner.append([b"more"])
        next_owner.close()
        assert [frame.entry for frame in read_frames(path)] == _numbered([*events[: len(entries)], b"more"])
        assert _begins_like_ours(damaged)
        return
    assert not _begins_like_ours(damaged), "events that can be read were given up"


def server_sent_events(chance: Chance, _: Path) -> None:
    """A body cut anywhere gives the events that the plain parser finds in the whole."""
    body = b"".join(chance.choices(PARTS, k=chance.randrange(40)))
    pieces = cut(body, [chance.randrange(200) for _ in range(chance.randrange(12))])
    parser = EventParser()
    assert [event for piece in pieces for event in parser.feed(piece)] == reference(body)


def provider_streams(chance: Chance, _: Path) -> None:
    """Whatever a provider sends is read, or is a failure of the provider; and only its own end is an end."""
    stream = ChatStream(ProviderErrors("scripted"), think_tags=chance.random() < 0.5)

    def read() -> None:
        for _each in range(chance.randrange(6)):
            stream.feed(ServerSentEvent(_provider_event(chance), chance.choice(("message", "message", "error"))))
        ending = stream.finish()
        assert stream.done, "a stream that was cut off has ended well"
        assert isinstance(ending[-1], Finished)

    failure = _failure_of(read)
    assert failure is None or (isinstance(failure, ServiceError) and failure.reason in _PROVIDERS_FAULT), repr(failure)


def page_tokens(chance: Chance, _: Path) -> None:
    """A token is good for its own list, and no other text is a token."""
    tokens = PageTokens(chance.choice((b"", b"secret")))
    last = chance.choice((*PLAUSIBLE_TEXTS, *NASTY_TEXTS[1:]))
    token = tokens.make("answers", "acme", last=last)
    assert tokens.read(token, "answers", "acme") == last
    other = _damaged(token.encode(), chance).decode("utf-8", "replace") if chance.random() < 0.7 else _text(chance)
    for text, scope in ((other, ("answers", "acme")), (token, ("answers", "globex")), (token, ("answersacme",))):
        try:
            read = tokens.read(text, *scope)
        except InvalidRequest:
            continue
        # The last character of base64 may have bits that mean nothing.
        assert not text or (read == last and scope == ("answers", "acme")), f"{text!r} was taken for a token"


def resource_names(chance: Chance, _: Path) -> None:
    """A name that is taken for a document's has its form: nothing in it leads anywhere else."""
    corpus, document = (chance.choice(("a", "handbook", "A.b_c~d-e", _text(chance))) for _ in range(2))
    name = document_name(corpus, document) + chance.choice(("", "", "\n", "/", "\0", " "))
    failure = _failure_of(lambda: check(retrieval_service_pb2.GetDocumentRequest(name=name)))
    if failure is not None:
        assert isinstance(failure, ServiceError)
        assert failure.reason is Reason.INVALID_FIELD
        return
    assert document_name(*document_ids(name)) == name
    for part in document_ids(name):
        assert part.isascii()
        assert part[0].isalnum()
        assert not set(part) & set("/\\\0\n %:")


def answer_streams(chance: Chance, _: Path) -> None:
    """A client takes a stream that keeps the rules, refuses any other, and never takes a part for the whole."""
    chunks = _stream(chance)
    broken = chance.random() < 0.9
    if broken:
        _break(chunks, chance)
    transcript = Transcript("id")

    def take() -> None:
        for chunk in chunks:
            transcript.accept(chunk)
        if transcript.final is None:
            raise transcript.lost_data()

    failure = _failure_of(take)
    if failure is None:
        _assert_rules(chunks, transcript)
    else:
        assert broken, f"a stream that keeps the rules was refused: {failure}"
        assert isinstance(failure, ProtocolError | DataLoss)


def hostile_answer_chunks(chance: Chance, _: Path) -> None:
    """Chunks of any content are refused as a broken protocol, and with no other exception."""
    transcript = Transcript("id")

    def take() -> None:
        for _each in range(3):
            chunk = made(AnswerChunk.DESCRIPTOR, chance)
            assert isinstance(chunk, AnswerChunk)
            following = min(transcript.last_sequence + 1, _MOST)
            chunk.sequence = chance.choice((chunk.sequence, following))
            transcript.accept(chunk)
        raise transcript.lost_data()

    assert isinstance(_failure_of(take), ProtocolError | DataLoss)


PARSERS: tuple[Callable[[Chance, Path], None], ...] = (
    answer_files,
    server_sent_events,
    provider_streams,
    page_tokens,
    resource_names,
    answer_streams,
    hostile_answer_chunks,
)


def run(count: int, *, seed: int, damage: Damage) -> None:
    """Gives the parsers so many inputs in all; the same for the same seed."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            parser = PARSERS[number % len(PARSERS)]
            try:
                parser(random.Random(f"{seed}/{number}"), Path(folder))  # noqa: S311 (chooses what to do)
            except Exception as error:  # whatever it is, it is a finding
                damage.wrong.append(f"input {number} of {parser.__name__}: {error!r}")
    damage.seen.append(f"{count} inputs to {len(PARSERS)} parsers")
    damage.counted["inputs"] += count


def _failure_of(work: Callable[[], object]) -> Exception | None:
    """What some work fails with, where that is a failure that is documented."""
    try:
        work()
    except (ServiceError, HeadwaterError) as error:
        return error
    return None


def _numbered(events: list[bytes]) -> list[Entry]:
    return [Entry(number, event) for number, event in enumerate(events, start=1)]


def _begins_like_ours(content: bytes) -> bool:
    """Whether this is an answer's file, or one that was torn off before its head was written."""
    return MAGIC.startswith(content[: len(MAGIC)])


def _damaged(content: bytes, chance: Chance) -> bytes:
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        begin, end = sorted((chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)))
        match chance.randrange(6):
            case 0 if begin < len(data):
                data[begin] ^= 1 << chance.randrange(8)
            case 1:
                del data[begin:]
            case 2:
                del data[begin:end]
            case 3:
                data[end:end] = data[begin:end]
            case 4:
                data[begin:begin] = chance.randbytes(chance.randrange(1, 40))
            case _:
                data += chance.randbytes(chance.randrange(1, 40))
    return bytes(data)


def _text(chance: Chance) -> str:
    return chance.choice((*NASTY_TEXTS, "".join(chr(chance.randrange(1, 0x2FF)) for _ in range(chance.randrange(40)))))


def _provider_event(chance: Chance) -> bytes:
    """An event of a provider that is mad to some degree."""
    document = _json(chance, depth=0) if chance.random() < 0.3 else {"choices": [_choice(chance)], **_extra(chance)}
    data = json.dumps(document).encode() if chance.random() < 0.85 else b"[DONE]"
    return _damaged(data, chance) if chance.random() < 0.2 else data


def _choice(chance: Chance) -> object:
    keys = ("content", "reasoning", "reasoning_content", "refusal", "tool_calls")
    delta = {key: _json(chance, depth=2) for key in keys if chance.random() < 0.3}
    return {"delta": delta, "index": chance.choice((0, 0, 1, None)), "finish_reason": _json(chance, depth=3)}


def _extra(chance: Chance) -> dict[str, object]:
    return {key: _json(chance, depth=1) for key in ("usage", "model", "error", "x_groq") if chance.random() < 0.1}


def _json(chance: Chance, *, depth: int) -> object:
    plain: tuple[object, ...] = (None, True, 0, -1, 10**40, 1e308, float("nan"), "stop", "length", "\ud800", "<think>")
    if depth > 3 or chance.random() < 0.6:
        return chance.choice((*plain, chance.choice(NASTY_TEXTS)))
    if chance.random() < 0.5:
        return [_json(chance, depth=depth + 1) for _ in range(chance.randrange(3))]
    keys = ("text", "type", "message", "code", "prompt_tokens", "completion_tokens", "choices", "delta", "content")
    return {chance.choice(keys): _json(chance, depth=depth + 1) for _ in range(chance.randrange(3))}


def _stream(chance: Chance) -> list[AnswerChunk]:
    """A stream that keeps every rule."""
    sources = [source_pb2.Source(id=str(number)) for number in range(1, chance.randrange(1, 4))]
    retrieved = answer_pb2.SourcesRetrieved(sources=sources)
    retrieved.statistics.SetInParent()
    chunks = [
        AnswerChunk(started=answer_pb2.AnswerStarted(answer="answers/1")),
        AnswerChunk(retrieved=retrieved),
    ]
    text, citations = "", []
    for _ in range(chance.randrange(8)):
        kind = chance.choice(("text", "text", "reasoning", "citation", "heartbeat"))
        if kind == "text":
            piece = chance.choice(("a", "é", "世界", "😀", "word "))
            chunks.append(AnswerChunk(text=answer_pb2.TextDelta(text=piece, offset_bytes=len(text.encode()))))
            text += piece
        elif kind == "reasoning":
            chunks.append(AnswerChunk(reasoning=answer_pb2.ReasoningDelta(text="hm")))
        elif kind == "heartbeat":
            chunks.append(AnswerChunk(heartbeat=answer_pb2.Heartbeat()))
        elif text and sources:
            evidence = [answer_pb2.Evidence(source_id=chance.choice(sources).id)]
            citations.append(answer_pb2.Citation(start_byte=0, end_byte=len(text.encode()), evidence=evidence))
            chunks.append(AnswerChunk(citation=citations[-1]))
    answer = answer_pb2.Answer(
        name="answers/1",
        state=answer_pb2.ANSWER_STATE_SUCCEEDED,
        finish_reason=answer_pb2.FINISH_REASON_STOP,
        text=text,
        sources=sources,
        citations=citations,
        text_crc32c=google_crc32c.value(text.encode()),
    )
    chunks.append(AnswerChunk(answer=answer))
    number = 0
    for chunk in chunks:
        number += not chunk.HasField("heartbeat")
        chunk.sequence = number
    chunks[-1].answer.last_sequence = number
    return chunks


def _break(chunks: list[AnswerChunk], chance: Chance) -> None:
    """Changes a stream in a way that may or may not break a rule."""
    at, other = chance.randrange(len(chunks)), chance.randrange(len(chunks))
    match chance.randrange(6):
        case 0:
            del chunks[at]
        case 1:
            chunks.insert(other, chunks[at])
        case 2:
            chunks[at], chunks[other] = chunks[other], chunks[at]
        case 3:
            del chunks[at:]
        case 4:
            chunks[at].sequence = chance.choice((0, -1, chunks[at].sequence + 1, 2**31 - 1))
        case _:
            with suppress(Exception):  # a change of its bytes, where they are still a message
                chunks[at] = AnswerChunk.FromString(_damaged(chunks[at].SerializeToString(), chance))


def _assert_rules(chunks: list[AnswerChunk], transcript: Transcript) -> None:
    """What a client has taken for an answer is one."""
    numbered = [chunk for chunk in chunks if not chunk.HasField("heartbeat")]
    assert [chunk.sequence for chunk in numbered] == list(range(1, len(numbered) + 1))
    assert numbered[0].HasField("started")
    assert [chunk.HasField("answer") for chunk in chunks].index(True) == len(chunks) - 1
    text = "".join(chunk.text.text for chunk in numbered)
    assert transcript.final == chunks[-1].answer
    assert transcript.text == text == chunks[-1].answer.text
    assert chunks[-1].answer.text_crc32c == google_crc32c.value(text.encode())
    assert [chunk.citation for chunk in numbered if chunk.HasField("citation")] == list(chunks[-1].answer.citations)
