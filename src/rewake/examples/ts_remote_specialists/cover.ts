/*
 * The cover desk: knows what each policy pays for. The Python specialists call it while the router waits for them.
 */

import * as restate from "@restatedev/restate-sdk";
import { z } from "zod";

const cover: Record<string, string> = {
  medical: "Hospital and surgery in full, medication up to 500 euros a year.",
  car: "Collision with 300 euros excess, windscreen in full, no theft cover.",
};

const Question = z.object({ customer: z.string(), kind: z.string() });
const Cover = z.object({ terms: z.string(), invocation: z.string() });

export const coverDesk = restate.service({
  name: "CoverDesk",
  handlers: {
    /** The terms of a customer's policy of that kind. */
    lookUp: restate.createServiceHandler(
      { input: restate.serde.schema(Question), output: restate.serde.schema(Cover) },
      async (ctx: restate.Context, { kind }: z.infer<typeof Question>) => {
        const terms = await ctx.run("Look up cover", () => cover[kind] ?? "No policy of this kind.");
        return { terms, invocation: ctx.request().id };
      },
    ),
  },
});
