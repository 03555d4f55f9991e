/** What a failed call means: final, or to be tried again, and when. */

import { RetryableError, TerminalError } from "@restatedev/restate-sdk";
import { APICallError } from "ai";

const TRANSIENT_4XX = [408, 409, 429];
const WITH_RETRY_AFTER = [429, 503];
const MESSAGE_CHARS_MAX = 4_000;

/** The error to leave a step with. */
export function failureOf(problem: unknown): unknown {
  if (!APICallError.isInstance(problem) || problem.statusCode === undefined) {
    return problem;
  }
  const status = problem.statusCode;
  if (status >= 400 && status < 500 && !TRANSIENT_4XX.includes(status)) {
    return new TerminalError(`${problem.name}: ${problem.message}`.slice(0, MESSAGE_CHARS_MAX), { errorCode: status });
  }
  const delay = WITH_RETRY_AFTER.includes(status) ? retryAfterMs(problem.responseHeaders) : undefined;
  return delay === undefined ? problem : RetryableError.from(problem, { retryAfter: { milliseconds: delay } });
}

/** Milliseconds of `retry-after-ms` or `Retry-After`, a number of seconds or a date. */
function retryAfterMs(headers: Record<string, string> | undefined): number | undefined {
  const [ms, after] = [headers?.["retry-after-ms"], headers?.["retry-after"]];
  const found = ms !== undefined ? Number(ms) : after === undefined ? NaN : Number(after) * 1000;
  const delay = Number.isNaN(found) && after !== undefined ? Date.parse(after) - Date.now() : found;
  return Number.isNaN(delay) ? undefined : Math.max(0, Math.round(delay));
}
