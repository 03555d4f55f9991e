/*
 * Claim approval with the Vercel AI SDK: an intake agent, two specialists as its tools, and a human for large payments.
 *
 * `ClaimApproval` is a workflow with one run per claim. `durableCalls` makes each model call a journal entry, the tools
 * add their own. A payment above the limit waits for a reviewer: for days, if need be, and with no process running.
 */

import { openai } from "@ai-sdk/openai";
import * as restate from "@restatedev/restate-sdk";
import { durableCalls, hasTerminalToolError, rethrowTerminalToolError } from "@restatedev/vercel-ai-middleware";
import { generateText, isStepCount, tool, wrapLanguageModel } from "ai";
import { z } from "zod";

const APPROVAL_LIMIT_EUROS = 1_000;
const AGENT_STEPS_MAX = 10;

const cover = {
  medical: "Hospital and surgery in full, medication up to 500 euros a year.",
  car: "Collision with 300 euros excess, windscreen in full, no theft cover.",
};
const intakeInstructions =
  "You are the intake agent of an insurer. Consult the specialist, or both, for each claim. When they say that it is " +
  "covered, pay it, then tell the customer in two sentences. Answer by yourself only when the message is not about a " +
  "claim.";

const Claim = z.object({ customer: z.string(), text: z.string() });
/** What a reviewer is asked. */
const Review = z.object({ awakeableId: z.string(), customer: z.string(), amountEuros: z.number() });
/** What a reviewer says. */
const Verdict = z.object({ approved: z.boolean(), by: z.string() });
type Claim = z.infer<typeof Claim>;
type Review = z.infer<typeof Review>;
type Verdict = z.infer<typeof Verdict>;
type Kind = keyof typeof cover;

/** The model, its calls journaled. The engine retries them and gives up after ten attempts. */
function durableModel(ctx: restate.Context) {
  const model = openai(process.env.OPENAI_MODEL ?? "gpt-5-mini");
  const patient = { maxRetryAttempts: 10, initialRetryInterval: { seconds: 1 } };
  return wrapLanguageModel({ model, middleware: durableCalls(ctx, patient) });
}

/** The intake agent's reply to the customer. */
async function answer(ctx: restate.WorkflowContext, claim: Claim): Promise<string> {
  const { text, steps } = await generateText({
    model: durableModel(ctx),
    instructions: intakeInstructions,
    prompt: claim.text,
    tools: {
      consultMedicalSpecialist: consultant(ctx, "medical", "Ask about injuries, hospital stays and medication."),
      consultCarSpecialist: consultant(ctx, "car", "Ask about accidents, theft and damage to vehicles."),
      payClaim: tool({
        description: "Pay a covered claim. Large payments are put to a reviewer first.",
        inputSchema: z.object({ amountEuros: z.number().positive() }),
        execute: ({ amountEuros }) => pay(ctx, claim.customer, amountEuros),
      }),
    },
    // Tools asked for in one breath write to the journal one after the other, in an order that holds on every attempt.
    toolCallConcurrency: 1,
    stopWhen: [isStepCount(AGENT_STEPS_MAX), hasTerminalToolError],
    maxRetries: 0,
  });
  // The AI SDK shows a tool's failure to the model. A cancelled run must end instead.
  steps.forEach(rethrowTerminalToolError);
  return text;
}

/** A tool that looks up the customer's cover and asks the specialist of that kind, who is an agent too. */
function consultant(ctx: restate.Context, kind: Kind, description: string) {
  return tool({
    description,
    inputSchema: z.object({ question: z.string().describe("What they must answer, with all they need to know.") }),
    execute: async ({ question }) => {
      const terms = await ctx.run(`Look up ${kind} cover`, () => cover[kind]);
      const { text } = await generateText({
        model: durableModel(ctx),
        instructions:
          `You are the ${kind} specialist of an insurer. Say in two sentences what the customer's cover pays for and ` +
          `which papers are missing. Their cover: ${terms}`,
        prompt: question,
        maxRetries: 0,
      });
      return text;
    },
  });
}

/** Pays, after a reviewer's approval where the amount is large; says what was done. */
async function pay(ctx: restate.WorkflowContext, customer: string, amountEuros: number): Promise<string> {
  if (amountEuros > APPROVAL_LIMIT_EUROS) {
    const verdict = await askReviewer(ctx, customer, amountEuros);
    if (!verdict.approved) {
      return `Refused by ${verdict.by}: nothing was sent.`;
    }
  }
  return await ctx.run("Pay claim", () => `Paid ${amountEuros} euros to ${customer}, reference ${ctx.key}.`);
}

/** Waits for a person. The question lies in the workflow's state until it is answered. */
async function askReviewer(ctx: restate.WorkflowContext, customer: string, amountEuros: number): Promise<Verdict> {
  const { id, promise } = ctx.awakeable<Verdict>(restate.serde.schema(Verdict));
  ctx.set<Review>("review", { awakeableId: id, customer, amountEuros });
  const verdict = await promise;
  ctx.clear("review");
  return verdict;
}

const claimApproval = restate.workflow({
  name: "ClaimApproval",
  handlers: {
    /** Settles one claim; the workflow's key is the claim's number. */
    run: restate.createWorkflowHandler(
      {
        input: restate.serde.schema(Claim),
        output: restate.serde.schema(z.string()),
        // Whom the intake agent may consult, for the web UI.
        metadata: { "rewake.candidates": "medical specialist, car specialist" },
      },
      answer,
    ),

    /** What a reviewer has to decide; null when there is nothing. */
    review: restate.createWorkflowSharedHandler(
      { input: restate.serde.empty, output: restate.serde.schema(Review.nullable()) },
      async (ctx: restate.WorkflowSharedContext) => await ctx.get<Review>("review"),
    ),

    /** The reviewer's verdict. */
    decide: restate.createWorkflowSharedHandler(
      { input: restate.serde.schema(Verdict), output: restate.serde.empty },
      async (ctx: restate.WorkflowSharedContext, verdict: Verdict) => {
        const review = await ctx.get<Review>("review");
        if (review === null) {
          throw new restate.TerminalError(`Claim ${ctx.key} waits for no reviewer.`, { errorCode: 409 });
        }
        ctx.resolveAwakeable(review.awakeableId, verdict, restate.serde.schema(Verdict));
      },
    ),
  },
});

const port = await restate.serve({ services: [claimApproval] });
console.log(`ClaimApproval is at http://localhost:${port}`);
