// A desk whose answers are streamed by the AI SDK.
import { createServer } from "node:http2";

import { openai } from "@ai-sdk/openai";
import * as restate from "@restatedev/restate-sdk";
import { durableCalls, hasTerminalToolError, rethrowTerminalToolError, textOf } from "@rewake/vercel-ai";
import { generateText, isStepCount, streamText, tool, wrapLanguageModel } from "ai";
import { z } from "zod";

const QUICKLY = { initialInterval: { milliseconds: 20 }, maxInterval: { milliseconds: 20 }, maxAttempts: 100 };

const model = (ctx: restate.Context, options = {}) =>
  wrapLanguageModel({ model: openai("gpt-5-mini"), middleware: durableCalls(ctx, { agent: "Desk", ...options }) });

const desk = restate.service({
  name: "Desk",
  options: { retryPolicy: QUICKLY },
  handlers: {
    answer: async (ctx: restate.Context, prompt: string) =>
      await textOf(streamText({ model: model(ctx), prompt, maxRetries: 0 })),

    whole: async (ctx: restate.Context, prompt: string) => {
      const { text, steps, finalStep } = await generateText({ model: model(ctx), prompt, maxRetries: 0 });
      steps.forEach(rethrowTerminalToolError);
      return [text, finalStep.usage.inputTokens, finalStep.response.timestamp instanceof Date];
    },

    consult: async (ctx: restate.Context, prompt: string) => {
      const askBilling = tool({
        inputSchema: z.object({ about: z.string() }),
        execute: async ({ about }, { toolCallId }) => {
          const billing = model(ctx, { agent: "Billing", path: ["Desk", "Billing"], calls: [toolCallId] });
          return await textOf(streamText({ model: billing, prompt: about, maxRetries: 0 }));
        },
      });
      const stopWhen = isStepCount(5);
      return await textOf(streamText({ model: model(ctx), prompt, tools: { askBilling }, stopWhen, maxRetries: 0 }));
    },

    pay: async (ctx: restate.Context, prompt: string) => {
      const result = streamText({
        model: model(ctx),
        prompt,
        tools: {
          pay: tool({
            inputSchema: z.object({ amount: z.number() }),
            execute: async ({ amount }) => {
              const { id, promise } = ctx.awakeable<string>();
              await ctx.run("Ask a person", () => id);
              return `Paid ${amount}, says ${await promise}`;
            },
          }),
        },
        toolCallConcurrency: 1,
        stopWhen: [isStepCount(5), hasTerminalToolError],
        maxRetries: 0,
      });
      return await textOf(result);
    },
  },
});

createServer(restate.createEndpointHandler({ services: [desk] })).listen(Number(process.env.PORT), "127.0.0.1");
