/*
 * The timed handlers of ../app.py, written with the TypeScript SDK: same names, same steps, same answers.
 *
 * Served over HTTP/2 without TLS, as the SDK does by itself; the port comes from the environment.
 */

import * as restate from "@restatedev/restate-sdk";

const steps = restate.service({
  name: "Steps",
  handlers: {
    /** Two durable steps, as a router that picks a specialist and asks it. */
    route2: async (ctx: restate.Context, claim: number): Promise<string> => {
      const specialist = await ctx.run("Pick specialist", () => (claim % 2 ? "car" : "medical"));
      return await ctx.run("Ask specialist", () => `${specialist}:${claim}`);
    },
    /** Ten durable steps, one after another. */
    steps10: async (ctx: restate.Context, number: number): Promise<number> => {
      let value = number;
      for (let step = 0; step < 10; step++) {
        const before = value;
        value = await ctx.run(`Step ${step}`, () => before + 1);
      }
      return value;
    },
  },
});

const counter = restate.object({
  name: "Counter",
  handlers: {
    /** State read, one durable step, state write: the count of calls on this key. */
    keyed: async (ctx: restate.ObjectContext, _request: number): Promise<number> => {
      const before = (await ctx.get<number>("count")) ?? 0;
      const count = await ctx.run("Count", () => before + 1);
      ctx.set("count", count);
      return count;
    },
  },
});

await restate.serve({ services: [steps, counter], port: Number(process.env.PORT) });
