/**
 * Durable model calls for the Vercel AI SDK: each is one step in the journal of a Restate handler, streamed or not.
 *
 * durable.ts   the middleware, for `wrapLanguageModel` and `wrapEmbeddingModel`
 * answers.ts   reading a streamed answer to its end, and failures of tools that must end the run
 * deltas.ts    live pieces, to whoever watches the run
 */

export { hasTerminalToolError, rethrowTerminalToolError, textOf } from "./answers.js";
export { durableCalls, durableEmbeds } from "./durable.js";
export type { DurableCallsOptions } from "./durable.js";
