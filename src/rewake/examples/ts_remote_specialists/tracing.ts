/*
 * One trace over every service that works on a claim, in W3C `traceparent` form; specialists.py does the same.
 *
 * All comes from the stored invocation, never from the attempt: a header that changed between attempts would make the
 * replayed call differ from its journal entry.
 */

import { createHash } from "node:crypto";
import type { Context } from "@restatedev/restate-sdk";

/** The headers that put a request into this invocation's trace; the caller's trace, or a new one. */
export function traceHeaders(ctx: Context): { traceparent: string } {
  const { headers, id } = ctx.request();
  return { traceparent: headers.get("traceparent") ?? newTraceparent(id) };
}

/** The 32 hex digits shared by all that belongs to the claim. */
export function traceId(ctx: Context): string {
  return traceHeaders(ctx).traceparent.split("-")[1] ?? "";
}

/** A sampled trace whose ids follow from the invocation: the same on every attempt. */
function newTraceparent(invocationId: string): string {
  const digest = createHash("sha256").update(invocationId).digest("hex");
  return `00-${digest.slice(0, 32)}-${digest.slice(32, 48)}-01`;
}
