/**
 * Live pieces of an answer, out of the body of a step, to whoever watches the run.
 *
 * The engine says in the attempt's header `x-rewake-stream` where they go: one chunked request for each try of a step,
 * a line of JSON for each piece. Nothing durable depends on them: they are never awaited, and dropped when nobody takes
 * them. A try that fails cuts its request, by which the engine knows that what it said is void.
 */

import type { Context } from "@restatedev/restate-sdk";
import type { ClientRequest } from "node:http";

import type { Part } from "./parts.js";

const HEADER = "x-rewake-stream";
const BUFFER_BYTES_MAX = 256 * 1024;
/** Longer text is said in pieces, as the engine takes lines of 64 KiB at most. */
const TEXT_CHARS_MAX = 16 * 1024;
const CONNECT_MS = 2_000;
/** How long the engine may take to answer a request that is complete. */
const LINGER_MS = 5_000;

export interface Head {
  step: string;
  kind: string;
  agent?: string | undefined;
  path?: readonly string[] | undefined;
  calls?: readonly string[] | undefined;
}

/** What one try of a step says. */
export class Deltas {
  readonly #url: string | undefined;
  readonly #head: Head;
  readonly #called = new Set<string>();
  #request: ClientRequest | undefined;
  #isConnected = false;
  #isOver = false;
  /** Of a character that was said so far: providers cut between the two surrogates of one. */
  #half = "";

  constructor(ctx: Context, head: Head) {
    const url = ctx.request().attemptHeaders.get(HEADER);
    this.#url = typeof url === "string" ? url : undefined;
    this.#head = head;
  }

  /** Pass a part on that a reader needs. Neither waits nor throws. */
  take(part: Part): void {
    if (this.#url === undefined) {
      return;
    }
    const delta = this.#delta(part);
    for (const piece of typeof delta === "string" ? this.#pieces(delta) : [delta]) {
      if (piece !== undefined && !this.#isOver) {
        this.#say(piece);
      }
    }
  }

  /** All has been said. */
  end(): void {
    const request = this.#leave();
    if (this.#isConnected) {
      request?.end();
      setTimeout(() => request?.destroy(), LINGER_MS).unref();
    } else {
      request?.destroy(); // the body was faster than the connection: the result says it all
    }
  }

  /** The try failed: what it said is void. */
  cut(): void {
    this.#leave()?.destroy();
  }

  #leave(): ClientRequest | undefined {
    this.#isOver = true;
    return this.#request;
  }

  /** The text in pieces of whole characters. */
  *#pieces(text: string): Generator<string> {
    const all = this.#half + text;
    const isCut = isFirstHalf(all, all.length - 1);
    this.#half = isCut ? all.slice(-1) : "";
    const whole = (isCut ? all.slice(0, -1) : all).toWellFormed();
    for (let start = 0, end = 0; start < whole.length; start = end) {
      end = start + TEXT_CHARS_MAX;
      end -= isFirstHalf(whole, end - 1) ? 1 : 0;
      yield whole.slice(start, end);
    }
  }

  #say(delta: unknown): void {
    this.#request ??= this.#opened();
    if (this.#request !== undefined && this.#request.writableLength <= BUFFER_BYTES_MAX) {
      this.#request.write(`${JSON.stringify(delta)}\n`);
    }
  }

  #opened(): ClientRequest | undefined {
    const url = new URL(this.#url!);
    const http = process.getBuiltinModule(url.protocol === "https:" ? "node:https" : "node:http");
    const headers = { "content-type": "application/x-ndjson", connection: "close" };
    const request = http.request(url, { method: "POST", agent: false, headers, timeout: CONNECT_MS });
    request.on("socket", (socket) => {
      socket.unref(); // a try that hangs must not keep the process
      socket.once(url.protocol === "https:" ? "secureConnect" : "connect", () => (this.#isConnected = true));
    });
    request.on("timeout", () => this.#isConnected || request.destroy());
    request.on("error", () => (this.#isOver = true));
    request.on("response", (response) => {
      this.#isOver = true; // before the end: nothing more is taken
      response.resume();
      request.destroy();
    });
    const { path, calls, ...head } = this.#head;
    request.write(`${JSON.stringify(head)}\n`);
    if (path !== undefined && path.length > 1) {
      request.write(`${JSON.stringify({ type: "path", path, calls: calls ?? [] })}\n`);
    }
    return request;
  }

  /** In the form that readers know for every framework: text is a string. */
  #delta(part: Part): unknown {
    switch (part.type) {
      case "text-delta":
        return part.delta;
      case "reasoning-delta":
        return { type: "reasoning", text: part.delta };
      case "tool-input-start":
        this.#called.add(part.id);
        return { type: "tool_input", call: part.id, tool: part.toolName, text: "" };
      case "tool-input-delta":
        return { type: "tool_input", call: part.id, text: part.delta };
      case "tool-call":
        return this.#called.has(part.toolCallId)
          ? undefined
          : { type: "tool_input", call: part.toolCallId, tool: part.toolName, text: part.input };
      default:
        return undefined;
    }
  }
}

function isFirstHalf(text: string, place: number): boolean {
  const code = text.charCodeAt(place);
  return code >= 0xd800 && code <= 0xdbff;
}
