/** Parts of a model's stream: read whole, stored compactly, and given again. */

import type { LanguageModelV4StreamPart, LanguageModelV4Usage } from "@ai-sdk/provider";

export type Part = LanguageModelV4StreamPart;
type Delta = Extract<Part, { delta: string }>;

/**
 * All parts of a stream, each passed to `take` as it comes.
 *
 * Throws what the model reports as an error, and for a stream that ends early.
 */
export async function wholeStream(stream: ReadableStream<Part>, take: (part: Part) => void): Promise<Part[]> {
  const parts: Part[] = [];
  for await (const part of stream) {
    if (part.type === "error") {
      throw part.error instanceof Error ? part.error : new Error(`The model failed: ${JSON.stringify(part.error)}`);
    }
    take(part);
    parts.push(part);
  }
  if (parts.at(-1)?.type !== "finish") {
    throw new Error("The model's stream ended without its last part.");
  }
  return parts;
}

/** The same stream in fewer parts: pieces of one block that follow each other become one. */
export function compact(parts: readonly Part[]): Part[] {
  const found: Part[] = [];
  for (const part of parts) {
    const last = found.at(-1);
    if (part.type === "ping") {
      continue;
    }
    if (last !== undefined && isPlainDelta(part) && isPlainDelta(last) && isOfOneBlock(last, part)) {
      found[found.length - 1] = { ...last, delta: last.delta + part.delta };
    } else {
      found.push(part);
    }
  }
  return found;
}

/** A stream that gives stored parts. */
export function streamOf(parts: readonly Part[]): ReadableStream<Part> {
  return new ReadableStream({
    start(controller) {
      parts.forEach((part) => controller.enqueue(part));
      controller.close();
    },
  });
}

/** Tokens as the envelope has them. */
export function usageIn(usage: LanguageModelV4Usage): Record<string, number> {
  const counts = {
    requests: 1,
    input_tokens: usage.inputTokens.total,
    output_tokens: usage.outputTokens.total,
    cached_tokens: usage.inputTokens.cacheRead,
    reasoning_tokens: usage.outputTokens.reasoning,
  };
  const known = Object.entries(counts).filter((each): each is [string, number] => typeof each[1] === "number");
  return Object.fromEntries(known);
}

function isOfOneBlock(last: Delta, part: Delta): boolean {
  return last.type === part.type && last.id === part.id;
}

function isPlainDelta(part: Part): part is Delta {
  return "delta" in part && part.providerMetadata === undefined;
}
