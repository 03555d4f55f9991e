// How handlers name the services they call, their own included: a service cannot take its own type from itself.
import type { Context, ObjectContext, ServiceDefinition, VirtualObjectDefinition } from "@restatedev/restate-sdk";

type Handler<Input, Output> = (ctx: Context, input: Input) => Promise<Output>;
type KeyHandler<Input, Output> = (ctx: ObjectContext, input: Input) => Promise<Output>;

export const STEPS = { name: "TsSteps" } as ServiceDefinition<
  "TsSteps",
  {
    ask: Handler<string, string>;
    echo: Handler<string, string>;
    fails: Handler<void, void>;
    leave: Handler<string, string>;
    request: Handler<null, { claim?: string }>;
  }
>;

export const WAITS = { name: "TsWaits" } as ServiceDefinition<
  "TsWaits",
  { fails: Handler<string, string>; late: Handler<string, string>; signals: Handler<string[], unknown[]> }
>;

export const CANCELS = { name: "TsCancels" } as ServiceDefinition<"TsCancels", { tree: Handler<number, string> }>;

export const OPTIONS = { name: "TsOptions" } as ServiceDefinition<"TsOptions", { hidden: Handler<void, string> }>;

export const COUNTER = { name: "TsCounter" } as VirtualObjectDefinition<
  "TsCounter",
  { add: KeyHandler<number, number>; read: KeyHandler<void, number | null> }
>;
