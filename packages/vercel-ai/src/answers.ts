/** Reading what `streamText` and `generateText` give: the AI SDK keeps failures to itself that must end the run. */

import { TerminalError } from "@restatedev/restate-sdk";
import type { StepResult, ToolSet } from "ai";

interface Streamed {
  readonly stream: AsyncIterable<{ type: string; error?: unknown }>;
  readonly text: PromiseLike<string>;
}

/**
 * The final text of `streamText`, once its stream is at its end.
 *
 * Throws what the stream reports as an error, such as a model call that failed for good or a cancelled run, and a
 * tool's TerminalError. `streamText` itself would report the first only to `onError`, and show the second to the model.
 */
export async function textOf(result: Streamed): Promise<string> {
  for await (const part of result.stream) {
    if (part.type === "error" || (part.type === "tool-error" && isTerminal(part.error))) {
      throw part.error;
    }
  }
  return await result.text;
}

/** A condition for `stopWhen`: a tool failed with a TerminalError, so the model is not asked again. */
export function hasTerminalToolError<TOOLS extends ToolSet>({ steps }: { steps: StepResult<TOOLS>[] }): boolean {
  return steps.some((step) => terminalErrorIn(step) !== undefined);
}

/** Throws the TerminalError of a step's tool, if there is one. */
export function rethrowTerminalToolError<TOOLS extends ToolSet>(step: StepResult<TOOLS>): void {
  const problem = terminalErrorIn(step);
  if (problem !== undefined) {
    throw problem;
  }
}

function terminalErrorIn(step: { content: readonly { type: string; error?: unknown }[] }): unknown {
  return step.content.find((part) => part.type === "tool-error" && isTerminal(part.error))?.error;
}

/** By name, too: an app may have two copies of the SDK. */
function isTerminal(problem: unknown): boolean {
  const names = ["TerminalError", "TimeoutError", "CancelledError"];
  const isNamed = problem instanceof Error && names.includes(problem.name) && "code" in problem;
  return problem instanceof TerminalError || isNamed;
}
