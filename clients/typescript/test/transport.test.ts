// The scenarios of tests/sdks/transport_server.py, which the server at HEADWATER_TRANSPORT_TARGET plays.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { type CallOptions, type Client, Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";

import { ErrorInfoSchema } from "../gen/google/rpc/error_details_pb.js";
import { AnswerService } from "../gen/headwater/v1/answer_service_pb.js";

const target = process.env["HEADWATER_TRANSPORT_TARGET"];
const secureTarget = process.env["HEADWATER_TRANSPORT_TLS_TARGET"];
const authority = process.env["HEADWATER_TRANSPORT_CA"];
const options = target && secureTarget && authority ? { timeout: 60_000 } : { skip: "HEADWATER_TRANSPORT_TARGET is not set" };
const sessions: Http2SessionManager[] = [];

after(() => sessions.forEach((session) => session.abort()));

function connected(baseUrl: string, ca?: Buffer): Client<typeof AnswerService> {
  const sessionManager = new Http2SessionManager(baseUrl, undefined, ca ? { ca } : undefined);
  sessions.push(sessionManager);
  return createClient(AnswerService, createGrpcTransport({ baseUrl, sessionManager, defaultTimeoutMs: 60_000 }));
}

/** Reads a stream to its end; pauses after the first piece, if it is told to. */
async function texts(client: Client<typeof AnswerService>, prompt: string, call: CallOptions = {}, pause = 0): Promise<string[]> {
  const found: string[] = [];
  for await (const { event } of client.streamAnswer({ prompt }, call)) {
    found.push(event.case === "text" ? event.value.text : "");
    if (pause && found.length === 1) {
      await sleep(pause);
    }
  }
  return found;
}

async function failureOf(reading: Promise<unknown>): Promise<ConnectError> {
  try {
    await reading;
  } catch (error) {
    return ConnectError.from(error);
  }
  return assert.fail("the stream ended OK");
}

test("the transport", options, async (t) => {
  const client = connected(`http://${target}`);

  const counted = await texts(client, "count 1000");
  assert.deepEqual([counted.length, counted.at(-1)], [1000, "999"]);
  t.diagnostic("transport: stream passed");

  assert.deepEqual(await texts(client, `size ${"x".repeat(3_000_000)}`), ["3000005"]);
  t.diagnostic("transport: request passed");

  assert.equal((await texts(client, "large 24", {}, 500)).join("").length, 24 * 1024 * 1024);
  t.diagnostic("transport: windows passed");

  const failure = await failureOf(texts(client, "fail"));
  assert.deepEqual([failure.code, failure.rawMessage], [Code.ResourceExhausted, "langsam, 20 % – später"]);
  assert.equal(failure.findDetails(ErrorInfoSchema)[0]?.reason, "PROVIDER_RATE_LIMITED");
  t.diagnostic("transport: details passed");

  assert.equal((await failureOf(texts(client, "hang", { timeoutMs: 300 }))).code, Code.DeadlineExceeded);
  assert.deepEqual(await texts(client, "gone"), ["gone"]);
  t.diagnostic("transport: deadline passed");

  const abort = new AbortController();
  for await (const _ of client.streamAnswer({ prompt: "hang" }, { signal: abort.signal })) {
    break;
  }
  abort.abort();
  assert.deepEqual(await texts(client, "gone"), ["gone"]);
  t.diagnostic("transport: cancel passed");

  assert.deepEqual(await texts(client, "goaway"), ["before", "after", "last"]);
  assert.equal((await texts(client, "count 2")).length, 2);
  t.diagnostic("transport: goaway passed");

  assert.ok(authority);
  assert.equal((await texts(connected(`https://${secureTarget}`, readFileSync(authority)), "count 3")).length, 3);
  t.diagnostic("transport: tls passed");
});
