/*
 * The router: asks a model which specialist a claim needs and calls that service durably, in whatever language it is.
 *
 * Two steps of its own: 'Pick specialist' is the routing decision, the call is the hand-over. While the specialist
 * works, the router may be suspended or dead; the specialist's answer wakes it.
 */

import * as restate from "@restatedev/restate-sdk";
import OpenAI from "openai";
import { z } from "zod";
import { Answer, Claim, type Specialist, type SpecialistName, specialists } from "./contract.ts";
import { traceHeaders, traceId } from "./tracing.ts";

const model = process.env.OPENAI_MODEL ?? "gpt-5-mini";
const instructions =
  "You are the intake agent of an insurer. Pick the specialist for the claim. Answer by yourself only when the " +
  "message is not about a claim.";

// No retries in the client: when the provider fails, the engine retries, so that the attempts are seen and survive a
// crash.
const client = new OpenAI({ maxRetries: 0 });

/** Either a specialist or the router's own answer. */
type Decision = { specialist: SpecialistName } | { specialist: null; answer: string };

/** The words, who said them, and every invocation that worked on them. */
const Reply = z.object({
  specialist: z.string().nullable(),
  text: z.string(),
  trace: z.string(),
  invocations: z.array(z.string()),
});

export const claimRouter = restate.service({
  name: "ClaimRouter",
  handlers: {
    /** The right specialist's answer to a claim. */
    answer: restate.createServiceHandler(
      {
        input: restate.serde.schema(Claim),
        output: restate.serde.schema(Reply),
        // Between whom the router chooses, for the web UI.
        metadata: { "rewake.candidates": Object.keys(specialists).join(", ") },
      },
      async (ctx: restate.Context, claim: Claim) => {
        const patient = { maxRetryAttempts: 10, initialRetryInterval: { seconds: 1 } };
        const decision = await ctx.run("Pick specialist", () => pickSpecialist(claim, traceHeaders(ctx)), patient);
        const { specialist } = decision;
        const said =
          specialist === null ? { text: decision.answer, invocations: [] } : await ask(ctx, specialist, claim);
        const invocations = [ctx.request().id, ...said.invocations];
        return { specialist, text: said.text, trace: traceId(ctx), invocations };
      },
    ),
  },
});

/** Calls the specialist by name: the router needs its address, its code or its language at no time. */
function ask(ctx: restate.Context, name: SpecialistName, claim: Claim) {
  const specialist = ctx.serviceClient<Specialist>({ name });
  return specialist.answer(
    claim,
    restate.rpc.opts({ headers: traceHeaders(ctx), output: restate.serde.schema(Answer) }),
  );
}

/** One model call: each specialist is offered as a tool, and the tool it asks for is the decision. */
async function pickSpecialist(claim: Claim, headers: Record<string, string>): Promise<Decision> {
  const completion = await client.chat.completions.create(
    {
      model,
      messages: [
        { role: "system", content: instructions },
        { role: "user", content: claim.text },
      ],
      tools: Object.entries(specialists).map(([name, description]) => asTool(name, description)),
      parallel_tool_calls: false,
    },
    { headers },
  );
  const message = completion.choices[0]?.message;
  const call = message?.tool_calls?.[0];
  if (call?.type === "function" && call.function.name in specialists) {
    return { specialist: call.function.name as SpecialistName };
  }
  return { specialist: null, answer: message?.content ?? "" };
}

function asTool(name: string, description: string): OpenAI.Chat.ChatCompletionTool {
  return { type: "function", function: { name, description, parameters: { type: "object", properties: {} } } };
}
