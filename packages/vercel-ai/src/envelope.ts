/**
 * The form in which a step's result is stored: the envelope of `rewake.ext`, version 1, which pages, CLI and telemetry
 * read for every framework. `value` is what the AI SDK gets back at replay, in the form of superjson: it may hold bytes
 * and times.
 */

import { TerminalError } from "@restatedev/restate-sdk";
import superjson, { type SuperJSONResult } from "superjson";

const VERSION = 1;

export interface Stored {
  rewake: number;
  kind: string;
  framework: string;
  value: SuperJSONResult;
}

/** A step with its outcome. fields: of the envelope; those without a value are left out. */
export function stored(fields: { kind: string } & Record<string, unknown>, value: unknown): Stored {
  return { rewake: VERSION, framework: "vercel-ai", ...fields, value: superjson.serialize(value) };
}

/** The value again. Throws a TerminalError for the result of other code. */
export function read(found: Stored): unknown {
  if (found?.rewake !== VERSION || found.framework !== "vercel-ai") {
    throw new TerminalError(
      "The journal has the result of other code where a model call of @rewake/vercel-ai was expected. The run began " +
        "with other code: let it end on that code, or start it anew.",
    );
  }
  return superjson.deserialize(found.value);
}
