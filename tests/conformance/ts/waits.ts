// Waiting: awakeables, signals, combinators, sleeping; and being cancelled meanwhile.
import * as restate from "@restatedev/restate-sdk";
import { type Context, RestatePromise, TerminalError } from "@restatedev/restate-sdk";
import { failure, gate, mark, outcome, step } from "./marks.ts";
import { CANCELS, WAITS } from "./peers.ts";

const HOUR = { hours: 1 };

const byId = (ctx: Context, id: string) => ctx.invocation(restate.InvocationIdParser.fromString(id));

export const waits = restate.service({
  name: "TsWaits",
  options: { inactivityTimeout: 20 },
  handlers: {
    nap: async (ctx: Context, ms: number) => {
      mark(ctx, "attempt");
      await ctx.sleep(ms, "a nap");
      return "woken";
    },
    awakeable: async (ctx: Context) => {
      const { id, promise } = ctx.awakeable<string>();
      mark(ctx, "attempt");
      mark(ctx, `awakeable ${id}`);
      return outcome(promise);
    },
    /** Looks at its awakeable only once the gate is open. */
    awakeableLater: async (ctx: Context, name: string) => {
      const { id, promise } = ctx.awakeable<string>();
      mark(ctx, `awakeable ${id}`);
      await ctx.run("gate", () => gate(name));
      return outcome(promise);
    },
    completes: async (ctx: Context, request: { id: string; value?: string; reason?: string }) => {
      if (request.reason === undefined) ctx.resolveAwakeable(request.id, request.value);
      else ctx.rejectAwakeable(request.id, request.reason);
    },
    signals: async (ctx: Context, names: string[]) => {
      mark(ctx, "attempt");
      const got: unknown[] = [];
      for (const name of names) got.push(await outcome(ctx.signal<string>(name)));
      return got;
    },
    signal: async (ctx: Context, request: { to: string; name: string; value?: string; reason?: string }) => {
      const signal = byId(ctx, request.to).signal<string>(request.name);
      if (request.reason === undefined) signal.resolve(request.value);
      else signal.reject(new TerminalError(request.reason, { errorCode: 418 }));
    },
    late: async (ctx: Context, name: string) => {
      await ctx.sleep(30);
      return `late ${name}`;
    },
    fails: async (ctx: Context, name: string) => {
      await ctx.sleep(5);
      throw new TerminalError(`no ${name}`, { errorCode: 418 });
    },

    // Combinators: each waits at least once for what only the test, or a callee, can bring

    all: async (ctx: Context) => {
      mark(ctx, "attempt");
      const late = ctx.serviceClient(WAITS).late("a");
      return RestatePromise.all([late, ctx.signal<string>("go"), step(ctx, "mine")]);
    },
    allFails: async (ctx: Context) =>
      outcome(RestatePromise.all([ctx.sleep(HOUR), ctx.serviceClient(WAITS).fails("luck")])),
    race: async (ctx: Context) => {
      mark(ctx, "attempt");
      const slept = () => ctx.sleep(HOUR).map(() => "slept");
      const first = await RestatePromise.race([slept(), ctx.signal<string>("go")]);
      const second = await RestatePromise.race([slept(), ctx.serviceClient(WAITS).late("b")]);
      return [first, second];
    },
    any: async (ctx: Context) => {
      mark(ctx, "attempt");
      return RestatePromise.any([ctx.serviceClient(WAITS).fails("first"), ctx.signal<string>("go")]);
    },
    anyFails: async (ctx: Context) => {
      try {
        return await RestatePromise.any([ctx.serviceClient(WAITS).fails("a"), ctx.serviceClient(WAITS).fails("b")]);
      } catch (error) {
        return (error as AggregateError).errors.map(failure);
      }
    },
    allSettled: async (ctx: Context) => {
      mark(ctx, "attempt");
      const { fails } = ctx.serviceClient(WAITS);
      const settled = await RestatePromise.allSettled([fails("luck"), ctx.signal<string>("go"), ctx.sleep(5)]);
      return settled.map((each) => (each.status === "fulfilled" ? (each.value ?? null) : failure(each.reason)));
    },
    nested: async (ctx: Context) => {
      mark(ctx, "attempt");
      const both = RestatePromise.all([ctx.signal<string>("one"), ctx.signal<string>("two")]);
      return RestatePromise.race([both, RestatePromise.any([ctx.signal<string>("three"), ctx.sleep(HOUR)])]);
    },
    inTime: async (ctx: Context, ms: number) => outcome(ctx.signal<string>("go").orTimeout(ms)),
    mapped: async (ctx: Context) => {
      const value = ctx.serviceClient(WAITS).late("c").map((text) => text?.toUpperCase());
      const failed = ctx.serviceClient(WAITS).fails("luck").map((_, error) => `so ${error?.message}`);
      return RestatePromise.all([value, failed]);
    },
    settled: async () =>
      RestatePromise.all([
        RestatePromise.resolve("now"),
        RestatePromise.reject<string>(new TerminalError("never")).map((_, error) => error?.message),
      ]),
  },
});

export const cancels = restate.service({
  name: "TsCancels",
  options: { inactivityTimeout: 20 },
  handlers: {
    asleep: async (ctx: Context) => {
      mark(ctx, "attempt");
      await ctx.sleep(HOUR);
    },
    /** Keeps its connection, so that it can be told. */
    inStep: restate.handlers.handler({ inactivityTimeout: { minutes: 1 } }, async (ctx: Context) => {
      mark(ctx, "attempt");
      await ctx.run("held", () => gate("never"));
    }),
    /** Calls itself down to a leaf that sleeps. */
    tree: async (ctx: Context, depth: number): Promise<string> => {
      mark(ctx, "attempt");
      if (depth === 0) await ctx.sleep(HOUR);
      return depth === 0 ? "leaf" : ctx.serviceClient(CANCELS).tree(depth - 1);
    },
    catches: async (ctx: Context, times: number) => {
      let caught = 0;
      while (caught < times) {
        mark(ctx, `round ${caught}`);
        try {
          await ctx.sleep(HOUR);
        } catch (error) {
          if (!(error instanceof restate.CancelledError)) throw error;
          caught += 1;
          await step(ctx, `compensation ${caught}`);
        }
      }
      return `caught ${caught}`;
    },
    cancel: async (ctx: Context, id: string) => {
      ctx.cancel(restate.InvocationIdParser.fromString(id));
    },
    /** Hears of it instead of failing; the call it made goes on, until it is cancelled by hand. */
    listens: restate.handlers.handler({ explicitCancellation: true }, async (ctx: Context, propagates: boolean) => {
      const inner = ctx as restate.internal.ContextInternal;
      const call = ctx.serviceClient(WAITS).signals(["go"]);
      mark(ctx, `child ${await call.invocationId}`);
      await inner.cancellation();
      mark(ctx, "heard");
      if (propagates) await inner.cancelPreviousCalls();
      return outcome(call);
    }),
  },
});
