// Options of services and handlers, as they go into the manifest, and what comes of them.
import * as restate from "@restatedev/restate-sdk";
import type { Context } from "@restatedev/restate-sdk";
import { mark, marked, step } from "./marks.ts";
import { OPTIONS } from "./peers.ts";

const { handler } = restate.handlers;

async function alwaysFails(ctx: Context): Promise<void> {
  mark(ctx, "attempt");
  throw new Error("never works");
}

/** Its first attempt and its second make different journals, as after a change of code. */
async function changesItsMind(ctx: Context): Promise<string> {
  mark(ctx, "attempt");
  const attempt = marked(ctx, "attempt");
  const first = await step(ctx, attempt === 2 ? "other" : "one");
  if (attempt === 1) throw new Error("begin again");
  return first;
}

export const options = restate.service({
  name: "TsOptions",
  description: "Every option",
  metadata: { team: "claims" },
  options: {
    journalRetention: { days: 2 },
    idempotencyRetention: { hours: 3 },
    inactivityTimeout: { seconds: 4 },
    abortTimeout: { seconds: 5 },
    retryPolicy: {
      initialInterval: 6,
      maxInterval: 70,
      exponentiationFactor: 3,
      maxAttempts: 8,
      onMaxAttempts: "kill",
    },
  },
  handlers: {
    inherits: async () => "inherited",
    overrides: handler(
      {
        description: "Its own",
        metadata: { cost: "high" },
        journalRetention: { minutes: 1 },
        idempotencyRetention: { minutes: 2 },
        inactivityTimeout: { minutes: 3 },
        abortTimeout: { minutes: 4 },
        retryPolicy: { maxAttempts: 2, onMaxAttempts: "pause" },
      },
      async () => "overridden",
    ),
    hidden: handler({ ingressPrivate: true }, async () => "hidden"),
    forgotten: handler({ journalRetention: 0, idempotencyRetention: 0 }, async () => "forgotten"),
    killed: handler({ retryPolicy: { initialInterval: 1, maxAttempts: 3, onMaxAttempts: "kill" } }, alwaysFails),
    paused: handler({ retryPolicy: { initialInterval: 1, maxAttempts: 2, onMaxAttempts: "pause" } }, alwaysFails),
    /** Silent, and deaf to suspension, in its first attempt: only the abort timeout ends that. */
    hangs: handler(
      { inactivityTimeout: 20, abortTimeout: 50, retryPolicy: { initialInterval: 1, maxAttempts: 5 } },
      async (ctx: Context) => {
        mark(ctx, "attempt");
        if (marked(ctx, "attempt") === 1) await new Promise(() => {});
        return "went on";
      },
    ),
    changes: handler({ retryPolicy: { initialInterval: 1 } }, changesItsMind),
    changesAndPauses: handler(
      { onJournalMismatchErrors: "pause", retryPolicy: { initialInterval: 1 } },
      changesItsMind,
    ),
    changesAndFails: handler({ onJournalMismatchErrors: "fail", retryPolicy: { initialInterval: 1 } }, changesItsMind),
    reveals: async (ctx: Context) => ctx.serviceClient(OPTIONS).hidden(),
  },
});
