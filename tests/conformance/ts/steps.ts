// Steps, failures, payloads and calls.
import * as restate from "@restatedev/restate-sdk";
import { type Context, RestatePromise, rpc } from "@restatedev/restate-sdk";
import { gate, mark, marked, outcome, step } from "./marks.ts";
import { COUNTER, STEPS } from "./peers.ts";

const RETRY = { initialRetryInterval: 1, retryIntervalFactor: 1 };

class NotFound extends Error {}

/** Fails so many times, counted over all attempts, then gives its name. */
function flaky(ctx: Context, name: string, failures: number): string {
  mark(ctx, `ran ${name}`);
  if (marked(ctx, `ran ${name}`) <= failures) throw new Error(`${name} does not work yet`);
  return name;
}

export const steps = restate.service({
  name: "TsSteps",
  options: { retryPolicy: { initialInterval: 20, maxInterval: 20 } },
  handlers: {
    /** Step, call, step: the shape of a router agent. */
    route: async (ctx: Context, name: string) => {
      const picked = await step(ctx, "pick");
      const answer = await ctx.serviceClient(STEPS).ask(name);
      return `${picked}, ${answer}, ${await step(ctx, "check")}`;
    },
    ask: async (ctx: Context, name: string) => {
      await ctx.sleep(5);
      return `${await step(ctx, "ask")} ${name}`;
    },
    together: async (ctx: Context, names: string[]) =>
      RestatePromise.all(names.map((name) => step(ctx, name))),
    values: async (ctx: Context, value: unknown) => [
      await ctx.run("value", () => value),
      (await ctx.run("nothing", () => undefined)) ?? "nothing",
      await ctx.run("null", () => null),
      Array.from(await ctx.run("bytes", () => Uint8Array.of(0, 255, 7), { serde: restate.serde.binary })),
    ],
    many: async (ctx: Context, count: number) => {
      let total = 0;
      for (let index = 0; index < count; index++) total += await ctx.run(`step ${index}`, () => 1);
      mark(ctx, `attempt ${total}`);
      return total + (await ctx.signal<number>("go"));
    },
    /** Sends its attempts' view of chance and time to the marks; only the second attempt ends. */
    chance: async (ctx: Context) => {
      const seen = [ctx.rand.random(), ctx.rand.uuidv4(), await ctx.date.now()];
      mark(ctx, `seen ${JSON.stringify(seen)}`);
      if (marked(ctx, "again") === 0) {
        mark(ctx, "again");
        throw new Error("once more");
      }
      return seen;
    },
    request: async (ctx: Context) => {
      const { id, target, headers, body } = ctx.request();
      return { id, target: target.toString(), claim: headers.get("x-claim"), size: body.length };
    },
    awakeables: async (ctx: Context, count: number) => {
      const promises = Array.from({ length: count }, () => ctx.awakeable<number>().promise);
      mark(ctx, "attempt");
      return RestatePromise.all(promises);
    },
    held: async (ctx: Context, name: string) => {
      mark(ctx, "attempt");
      await step(ctx, "before");
      await ctx.run("held", () => gate(name));
      return `held ${await step(ctx, "after")}`;
    },

    // Failures

    fails: async () => {
      throw new restate.TerminalError("no such claim", { errorCode: 404, metadata: { claim: "17" } });
    },
    failsForOthers: async (ctx: Context) => {
      try {
        await ctx.serviceClient(STEPS).fails();
      } catch (error) {
        if (!(error instanceof restate.TerminalError)) throw error;
        return { code: error.code, message: error.message, metadata: error.metadata };
      }
    },
    failsInStep: async (ctx: Context) =>
      outcome(
        ctx.run("refused", () => {
          mark(ctx, "ran refused");
          throw new restate.TerminalError("refused", { errorCode: 418 });
        }),
      ),
    failsAtFirst: async (ctx: Context, failures: number) => {
      mark(ctx, "attempt");
      if (marked(ctx, "attempt") <= failures) throw new Error("not yet");
      return step(ctx, "after all");
    },
    stepFailsAtFirst: async (ctx: Context, failures: number) =>
      ctx.run("flaky", () => flaky(ctx, "flaky", failures), { ...RETRY, maxRetryAttempts: 10 }),
    stepGivesUp: async (ctx: Context, attempts: number) =>
      outcome(ctx.run("flaky", () => flaky(ctx, "flaky", 1_000), { ...RETRY, maxRetryAttempts: attempts })),
    stepRunsOutOfTime: async (ctx: Context) =>
      outcome(
        ctx.run("flaky", () => flaky(ctx, "flaky", 1_000), { ...RETRY, initialRetryInterval: 20, maxRetryDuration: 300 }),
      ),
    stepNamesItsDelay: async (ctx: Context) =>
      ctx.run("busy", () => {
        mark(ctx, `ran at ${Date.now()}`);
        if (marked(ctx, "busy") > 0) return "free";
        mark(ctx, "busy");
        throw new restate.RetryableError("busy", { retryAfter: 300 });
      }),
    stepPauses: async (ctx: Context) =>
      ctx.run("ask a human", () => {
        mark(ctx, "ran");
        if (marked(ctx, "ran") === 1) throw new restate.PauseError("look at this");
        return "seen";
      }),
    ownError: restate.handlers.handler(
      {
        asTerminalError: (error) =>
          error instanceof NotFound ? new restate.TerminalError("not found", { errorCode: 404 }) : undefined,
      },
      async () => {
        throw new NotFound();
      },
    ),

    // Payloads

    echo: async (_: Context, value: unknown) => value,
    double: async (ctx: Context, text: string) => {
      const mine = await ctx.run("copy", () => text);
      return mine + (await ctx.serviceClient(STEPS).echo(mine));
    },
    bytes: restate.handlers.handler(
      { input: restate.serde.binary, output: restate.serde.binary },
      async (_: Context, data: Uint8Array) => data.toReversed(),
    ),
    nothing: async () => {},

    // Calls

    sends: async (ctx: Context, request: { text: string; delay?: number; idempotencyKey?: string }) => {
      const { text, ...options } = request;
      return ctx.serviceSendClient(STEPS).leave(text, rpc.sendOpts(options)).invocationId;
    },
    leave: async (ctx: Context, text: string) => {
      mark(ctx, text);
      return text;
    },
    /** Two calls with one idempotency key, and a third when they are done: values, then ids. */
    thrice: async (ctx: Context, key: string) => {
      const once = () => ctx.serviceClient(STEPS).leave("once", rpc.opts({ idempotencyKey: key }));
      const first = once();
      const second = once();
      const values = [await first, await second];
      const third = once();
      values.push(await third);
      return [values, [await first.invocationId, await second.invocationId, await third.invocationId]];
    },
    withHeader: async (ctx: Context, claim: string) =>
      (await ctx.serviceClient(STEPS).request(null, rpc.opts({ headers: { "x-claim": claim } }))).claim,
    attachTo: async (ctx: Context, id: string) => outcome(ctx.attach(restate.InvocationIdParser.fromString(id))),
    generic: async (ctx: Context, call: { service: string; method: string; key?: string; parameter: unknown }) =>
      outcome(ctx.genericCall({ ...call, inputSerde: restate.serde.json, outputSerde: restate.serde.json })),
    genericSend: async (ctx: Context, call: { service: string; method: string; key?: string; parameter: unknown }) =>
      ctx.genericSend({ ...call, inputSerde: restate.serde.json }).invocationId,
    addTwice: async (ctx: Context, key: string) => {
      const counter = ctx.objectClient(COUNTER, key);
      return [await counter.add(2), await counter.add(3), await counter.read()];
    },
  },
});
