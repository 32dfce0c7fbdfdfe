// What a stream has brought so far, with the checks that each further event must pass.

import assert from "node:assert/strict";

import { create, equals } from "@bufbuild/protobuf";

import {
  AnswerSchema,
  AnswerState,
  type Answer,
  type AnswerChunk,
  type AnswerStarted,
  type Citation,
  type SourcesRetrieved,
  type TextDelta,
} from "../gen/headwater/v1/answer_pb.js";
import type { Source } from "../gen/headwater/v1/source_pb.js";
import { crc32c } from "./crc32c.js";

const utf8 = new TextEncoder();
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export class Received {
  sequence = 0;
  text = "";
  readonly sources: Source[] = [];
  readonly citations: Citation[] = [];
  terminal: Answer | undefined;
  #started: AnswerStarted | undefined;
  #sourcesEnded = false;

  /** Takes one more chunk, or throws an AssertionError that says which rule of the stream it breaks. */
  add(chunk: AnswerChunk): void {
    assert.equal(this.terminal, undefined, `chunk ${chunk.sequence} comes after the terminal answer`);
    if (chunk.event.case === "heartbeat") {
      assert.equal(chunk.sequence, this.sequence, "a heartbeat repeats the last sequence");
      return;
    }
    assert.equal(chunk.sequence, this.sequence + 1, "sequences have no gap");
    this.sequence = chunk.sequence;
    const { event } = chunk;
    assert.equal(event.case === "started", this.#started === undefined, `started comes first and once, not ${event.case}`);
    if (event.case === "started") {
      this.#started = event.value;
    } else if (event.case === "retrieved") {
      this.#retrieved(event.value);
    } else {
      assert.ok(this.#sourcesEnded, `${event.case} comes before the last sources`);
      this.#content(event);
    }
  }

  #retrieved(event: SourcesRetrieved): void {
    assert.ok(!this.#sourcesEnded, "sources come after the statistics");
    this.sources.push(...event.sources);
    this.#sourcesEnded = event.statistics !== undefined;
  }

  #content(event: AnswerChunk["event"]): void {
    switch (event.case) {
      case "text":
        return this.#delta(event.value);
      case "citation":
        return this.#citation(event.value);
      case "answer":
        return this.#answer(event.value);
      case "snapshot":
        return assert.fail("a snapshot comes without a resume");
      default: // Reasoning, or an event that this client does not know: counted, nothing more.
    }
  }

  #delta(event: TextDelta): void {
    assert.notEqual(event.text, "");
    assert.equal(event.offsetBytes, utf8.encode(this.text).length, "text starts where the text before it ends");
    this.text += event.text;
  }

  #citation(event: Citation): void {
    const { startByte: start, endByte: end } = event;
    const bytes = utf8.encode(this.text);
    assert.ok(0 <= start && start < end && end <= bytes.length, `citation of [${start}, ${end}) of ${bytes.length} bytes`);
    assert.doesNotThrow(() => {
      strictUtf8.decode(bytes.subarray(0, start));
      strictUtf8.decode(bytes.subarray(start, end));
    }, `citation of [${start}, ${end}) splits a code point`);
    assert.notEqual(event.evidence.length, 0, "a citation has evidence");
    const ids = new Set(this.sources.map((source) => source.id));
    for (const { sourceId } of event.evidence) {
      assert.ok(sourceId !== "" && ids.has(sourceId), `evidence names source "${sourceId}", which was not retrieved`);
    }
    this.citations.push(event);
  }

  #answer(event: Answer): void {
    this.terminal = event;
    assert.equal(event.name, this.#started?.answer, "the answer keeps its name");
    assert.equal(event.state, AnswerState.SUCCEEDED);
    assert.equal(event.lastSequence, this.sequence);
    assert.equal(event.text, this.text, "the answer's text is the joined deltas");
    assert.equal(event.textCrc32c, crc32c(utf8.encode(this.text)), "the text's CRC-32C");
    assert.equal(event.sources.length, this.sources.length, "the answer has all sources");
    const [told, streamed] = [event.citations, this.citations].map((citations) => create(AnswerSchema, { citations }));
    assert.ok(equals(AnswerSchema, told!, streamed!), "the answer's citations are those of the stream");
  }
}
