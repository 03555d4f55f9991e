// State of virtual objects, and workflows with their promises.
import * as restate from "@restatedev/restate-sdk";
import { type ObjectContext, type ObjectSharedContext, TerminalError } from "@restatedev/restate-sdk";
import { gate, mark, outcome } from "./marks.ts";
import { COUNTER } from "./peers.ts";

type Flow = restate.WorkflowSharedContext;

async function add(ctx: ObjectContext, amount: number): Promise<number> {
  const value = ((await ctx.get<number>("value")) ?? 0) + amount;
  ctx.set("value", value);
  return value;
}

/** Reads and writes of every kind, with a wait in the middle that a replay goes over. */
async function use(ctx: ObjectContext): Promise<unknown[]> {
  mark(ctx, "attempt");
  const seen: unknown[] = [await ctx.stateKeys(), await ctx.get("a")];
  ctx.set("a", 1);
  ctx.set("b", { deep: ["ä", null] });
  ctx.set("bytes", Uint8Array.of(0, 255), restate.serde.binary);
  seen.push(await ctx.get("a"), await ctx.get("b"), (await ctx.stateKeys()).toSorted());
  await ctx.sleep(30);
  ctx.clear("b");
  seen.push(await ctx.get("b"));
  ctx.clearAll();
  seen.push(await ctx.get("a"), await ctx.stateKeys());
  ctx.set("c", 3);
  return seen;
}

const see = async (ctx: ObjectSharedContext) => [
  (await ctx.stateKeys()).toSorted(),
  await ctx.get("c"),
  await ctx.get("z"),
];

export const counter = restate.object({
  name: "TsCounter",
  options: { inactivityTimeout: 20 },
  handlers: {
    add,
    use,
    see: restate.handlers.object.shared(see),
    read: restate.handlers.object.shared(async (ctx: ObjectSharedContext) => ctx.get<number>("value")),
    key: restate.handlers.object.shared(async (ctx: ObjectSharedContext) => ctx.key),
    /** Sets, then holds its key until the gate opens. */
    hold: async (ctx: ObjectContext, name: string) => {
      ctx.set("value", 100);
      await ctx.run("begun", () => mark(ctx, "holds"));
      await ctx.run("held", () => gate(name));
      ctx.set("value", 101);
    },
    addElsewhere: async (ctx: ObjectContext, key: string) => {
      const elsewhere = ctx.objectClient(COUNTER, key);
      return [await add(ctx, 1), await elsewhere.add(10), await elsewhere.read()];
    },
    setsAndFails: async (ctx: ObjectContext) => {
      ctx.set("value", 7);
      throw new TerminalError("after all not", { errorCode: 409 });
    },
  },
});

export const lazyCounter = restate.object({
  name: "TsLazyCounter",
  options: { enableLazyState: true, inactivityTimeout: 20 },
  handlers: { add, use, see: restate.handlers.object.shared(see) },
});

export const flow = restate.workflow({
  name: "TsFlow",
  options: { inactivityTimeout: 20 },
  handlers: {
    run: async (ctx: restate.WorkflowContext, text: string) => {
      mark(ctx, "attempt");
      ctx.set("status", "waiting");
      const approval = await outcome(ctx.promise<string>("approval").get());
      ctx.set("status", "decided");
      return `${text}: ${approval}`;
    },
    approve: async (ctx: Flow, text: string) => outcome(ctx.promise<string>("approval").resolve(text)),
    reject: async (ctx: Flow, reason: string) => outcome(ctx.promise<string>("approval").reject(reason)),
    peek: async (ctx: Flow) => [(await ctx.promise<string>("approval").peek()) ?? null, await ctx.get("status")],
    wait: async (ctx: Flow, name: string) => {
      mark(ctx, "attempt");
      return ctx.promise<string>(name);
    },
    settle: async (ctx: Flow, name: string) => ctx.promise<string>(name).resolve(`settled ${name}`),
  },
});
