/*
 * A support router with the plain TypeScript SDK: one durable step picks a specialist, another one asks it.
 *
 * Each model call is a `ctx.run` step with a name. What a step returned is in the journal, and a retry after a crash
 * reads it there instead of asking the model again.
 */

import * as restate from "@restatedev/restate-sdk";
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const model = process.env.OPENAI_MODEL ?? "gpt-5-mini";
const specialists = {
  billing: "You are the billing specialist of a web shop. You know invoices, refunds and payment methods.",
  technical: "You are the technical specialist of a web shop. You know logins, browsers and error messages.",
};
const router =
  "You are the support router of a web shop. Pick the specialist for the question: billing or technical. " +
  "When it needs none, leave the specialist empty and answer it yourself.";

// The engine retries, and counts across crashes; the client's own retries would hide failures from the journal.
const client = new OpenAI({ maxRetries: 0 });

/** What the router decided: a specialist, or an answer. */
const Decision = z.object({
  specialist: z.enum(["billing", "technical"]).nullable(),
  answer: z.string().nullable(),
});
type Decision = z.infer<typeof Decision>;
type Specialist = keyof typeof specialists;

/** The answer and who gave it. */
const Reply = z.object({ specialist: z.string(), text: z.string() });

/** Asks the router model for its decision, in the shape of `Decision`. */
async function pickSpecialist(question: string): Promise<Decision> {
  const response = await client.responses.parse({
    model,
    instructions: router,
    input: question,
    text: { format: zodTextFormat(Decision, "decision") },
  });
  if (response.output_parsed === null) {
    throw new Error(`The router gave no decision: ${response.output_text}`);
  }
  return response.output_parsed;
}

/** Asks one specialist. */
async function askSpecialist(specialist: Specialist, question: string): Promise<string> {
  const response = await client.responses.create({ model, instructions: specialists[specialist], input: question });
  return response.output_text;
}

const supportRouter = restate.service({
  name: "SupportRouter",
  handlers: {
    /** Answers a question, with the help of a specialist where it needs one. */
    ask: restate.createServiceHandler(
      {
        input: restate.serde.schema(z.string()),
        output: restate.serde.schema(Reply),
        // Between whom the router chooses, for the web UI.
        metadata: { "rewake.candidates": Object.keys(specialists).join(", ") },
      },
      async (ctx: restate.Context, question: string) => {
        const patient = { maxRetryAttempts: 10, initialRetryInterval: { seconds: 1 } };
        const decision = await ctx.run("Pick specialist", () => pickSpecialist(question), patient);
        const { specialist } = decision;
        if (specialist === null) {
          return { specialist: "router", text: decision.answer ?? "" };
        }
        const text = await ctx.run(`Ask ${specialist}`, () => askSpecialist(specialist, question));
        return { specialist, text };
      },
    ),
  },
});

const port = await restate.serve({ services: [supportRouter] });
console.log(`SupportRouter is at http://localhost:${port}`);
