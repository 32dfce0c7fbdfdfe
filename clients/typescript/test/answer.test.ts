// Holds the TypeScript code of the protos against a real server: the one at HEADWATER_TARGET (host:port), whose corpus `default`
// holds documents. HEADWATER_PROMPT changes the question.

import assert from "node:assert/strict";
import { after, test } from "node:test";

import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";

import { ErrorInfoSchema } from "../gen/google/rpc/error_details_pb.js";
import { AbstainReason, FinishReason } from "../gen/headwater/v1/answer_pb.js";
import { AnswerService, type StreamAnswerRequestSchema } from "../gen/headwater/v1/answer_service_pb.js";
import { ErrorReason } from "../gen/headwater/v1/error_reason_pb.js";
import { crc32c } from "./crc32c.js";
import { Received } from "./received.js";

const target = process.env["HEADWATER_TARGET"];
const prompt = process.env["HEADWATER_PROMPT"] || "How many hours of annual leave can I carry over to the next leave year?";
const baseUrl = `http://${target ?? "localhost"}`; // Nothing connects before the first call.
const sessionManager = new Http2SessionManager(baseUrl);
const client = createClient(AnswerService, createGrpcTransport({ baseUrl, sessionManager, defaultTimeoutMs: 60_000 }));
const options = target ? {} : { skip: "HEADWATER_TARGET names no server" };

after(() => sessionManager.abort());

test("CRC-32C has the check value of its definition", () => {
  assert.equal(crc32c(new TextEncoder().encode("123456789")), 0xe3069283);
});

test("a streamed answer keeps the rules of the stream", options, async (t) => {
  const received = new Received();
  for await (const chunk of client.streamAnswer({ prompt })) {
    received.add(chunk);
  }
  const { terminal, text, sources, citations, sequence } = received;
  assert.ok(terminal, `the stream ended OK after chunk ${sequence}, without its terminal answer`);
  const end = `${FinishReason[terminal.finishReason]}, ${AbstainReason[terminal.abstainReason]}`;
  const told = `${sequence} events, ${text.length} characters, ${sources.length} sources, ${citations.length} citations (${end})`;
  assert.ok(text && sources.length && citations.length, `a question about the corpus got ${told}`);
  t.diagnostic(told);
});

const failures: { name: string; request: MessageInitShape<typeof StreamAnswerRequestSchema>; code: Code; reason: string }[] = [
  { name: "an empty prompt", request: {}, code: Code.InvalidArgument, reason: "INVALID_FIELD" },
  {
    name: "an unknown corpus",
    request: { prompt, grounding: { case: "retrieval", value: { corpora: ["no-such-corpus"] } } },
    code: Code.NotFound,
    reason: "RESOURCE_NOT_FOUND",
  },
];

for (const { name, request, code, reason } of failures) {
  test(`${name} fails with its ErrorInfo`, options, async () => {
    const failure = await failureOf(request);
    assert.equal(Code[failure.code], Code[code], failure.message);
    const [info] = failure.findDetails(ErrorInfoSchema);
    assert.equal(info?.reason, reason);
    assert.equal(info.domain, "headwater");
    assert.ok(reason in ErrorReason, `ErrorReason has ${reason}`);
  });
}

/** Reads a stream to its end and returns the error it ended with. */
async function failureOf(request: MessageInitShape<typeof StreamAnswerRequestSchema>): Promise<ConnectError> {
  try {
    for await (const _ of client.streamAnswer(request));
  } catch (error) {
    return ConnectError.from(error);
  }
  return assert.fail("the stream ended OK");
}
