// Reads responses of the AI SDK's UI message stream as a client does: each chunk against the published schema, then all of them into a message. stdin: [[chunk, ...], ...]; stdout: the message.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const { readUIMessageStream, uiMessageChunkSchema } = await import(
  pathToFileURL(createRequire(`${process.argv[2]}/`).resolve("ai")).href
);
const schema = uiMessageChunkSchema();
let text = "";
for await (const piece of process.stdin) text += piece;
let message;
for (const chunks of JSON.parse(text)) {
  for (const chunk of chunks) {
    const found = await schema.validate(chunk);
    if (!found.success) throw new Error(`${JSON.stringify(chunk)}: ${found.error}`);
  }
  const stream = new ReadableStream({ start: (way) => (chunks.forEach((chunk) => way.enqueue(chunk)), way.close()) });
  for await (const said of readUIMessageStream({ message, stream, terminateOnError: true })) message = said;
}
process.stdout.write(JSON.stringify(message));
