// What handlers leave for the tests: a file of marks for every invocation, and gates that the tests open.
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { type Context, type RestatePromise, TerminalError } from "@restatedev/restate-sdk";

const STAGE = process.env.REWAKE_TEST_STAGE;
const POLL_MS = 3;

const file = (ctx: Context) => `${STAGE}/marks/${ctx.request().id}`;

export function mark(ctx: Context, text: string): void {
  appendFileSync(file(ctx), `${text}\n`);
}

/** How often this invocation has left such a mark, in all its attempts. */
export function marked(ctx: Context, text: string): number {
  if (!existsSync(file(ctx))) return 0;
  return readFileSync(file(ctx), "utf8").split("\n").filter((line) => line === text).length;
}

/** A durable step that leaves a mark each time it really runs. */
export function step(ctx: Context, name: string): RestatePromise<string> {
  return ctx.run(name, () => {
    mark(ctx, `ran ${name}`);
    return name;
  });
}

/** Wait until the test opens the gate. */
export async function gate(name: string): Promise<void> {
  while (!existsSync(`${STAGE}/open.${name}`)) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
}

/** What a promise came to: its value, or `CODE message` of its failure. */
export async function outcome(promise: Promise<unknown>): Promise<unknown> {
  try {
    return await promise;
  } catch (error) {
    return failure(error);
  }
}

export function failure(error: unknown): string {
  if (error instanceof TerminalError) return `${error.code} ${error.message}`;
  throw error;
}
