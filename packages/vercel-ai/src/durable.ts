/** The middleware: a model call is one step, asked once for each journal. */

import type { EmbeddingModelV4Middleware, LanguageModelV4, LanguageModelV4Middleware } from "@ai-sdk/provider";
import type { Context, RunOptions } from "@restatedev/restate-sdk";

import { Deltas } from "./deltas.js";
import { read, stored, type Stored } from "./envelope.js";
import { failureOf } from "./failures.js";
import { compact, streamOf, usageIn, wholeStream } from "./parts.js";

export interface DurableCallsOptions extends Omit<RunOptions<Stored>, "serde"> {
  /** Name of the agent that asks. Steps are then called `{agent}: model`, and pages of a run show who spoke. */
  agent?: string;
  /** Agents from the outermost asker down to `agent`, where another agent's tool called this one. */
  path?: readonly string[];
  /** Ids of the tool calls that led here, the `toolCallId` that a tool is given: one fewer than `path` has names. */
  calls?: readonly string[];
}

/**
 * Makes each call of a model a step of the handler, for `generateText` and `streamText`.
 *
 * A stream is read to its end within the step; the handler gets its parts once they are stored, and the same parts at
 * each replay. Meanwhile an engine that offers it shows the pieces to whoever watches the run. Nothing durable depends
 * on them, and without such an engine they go nowhere.
 *
 * A provider's answer of 4xx, other than 408, 409 and 429, fails the step for good; everything else is tried again,
 * after `Retry-After` where the provider sends it.
 *
 * @param ctx the handler's context; a middleware belongs to one attempt, so make it within the handler.
 * @param options who asks, and how the step is retried: without limit by default.
 */
export function durableCalls(ctx: Context, options: DurableCallsOptions = {}): LanguageModelV4Middleware {
  const { agent, path, calls, ...retry } = options;
  const name = agent === undefined ? "model" : `${agent}: model`;
  const who = { agent, path: path ?? (agent === undefined ? undefined : [agent]), calls };
  const over = ctx.request().attemptCompletedSignal;

  /** What the step stores. */
  async function once(ask: () => Promise<Stored>): Promise<unknown> {
    const asked = async (): Promise<Stored> => {
      try {
        return await ask();
      } catch (problem) {
        throw failureOf(problem);
      }
    };
    return read(await ctx.run(name, asked, retry));
  }

  function kept(model: LanguageModelV4, usage: Record<string, number>, value: unknown): Stored {
    return stored({ kind: "model", ...who, model: model.modelId, usage }, value);
  }

  return {
    specificationVersion: "v4",

    // The request to the provider ends when the attempt does: the next one asks anew.
    transformParams: async ({ params }) => ({
      ...params,
      abortSignal: params.abortSignal === undefined ? over : AbortSignal.any([params.abortSignal, over]),
    }),

    wrapGenerate: async ({ model, doGenerate }) => {
      const found = await once(async () => {
        const { request: _, response, ...result } = await doGenerate();
        return kept(model, usageIn(result.usage), { ...result, response: { ...response, body: undefined } });
      });
      return found as Awaited<ReturnType<typeof doGenerate>>;
    },

    wrapStream: async ({ model, doStream }) => {
      const found = await once(async () => {
        const deltas = new Deltas(ctx, { step: name, kind: "model", ...who });
        try {
          const { stream, response } = await doStream();
          const parts = await wholeStream(stream, (part) => deltas.take(part));
          deltas.end();
          const last = parts.at(-1);
          return kept(model, last?.type === "finish" ? usageIn(last.usage) : {}, { parts: compact(parts), response });
        } catch (problem) {
          deltas.cut();
          throw problem;
        }
      });
      const { parts, response } = found as { parts: ReturnType<typeof compact>; response?: object };
      return { stream: streamOf(parts), ...(response === undefined ? {} : { response }) };
    },
  };
}

/** Makes each call of an embedding model a step of the handler. */
export function durableEmbeds(
  ctx: Context,
  options: Omit<DurableCallsOptions, "path" | "calls"> = {},
): EmbeddingModelV4Middleware {
  const { agent, ...retry } = options;
  return {
    specificationVersion: "v4",
    wrapEmbed: async ({ doEmbed }) => {
      const asked = async () => {
        try {
          const { response: _, ...result } = await doEmbed();
          return result;
        } catch (problem) {
          throw failureOf(problem);
        }
      };
      return await ctx.run(agent === undefined ? "embed" : `${agent}: embed`, asked, retry);
    },
  };
}
