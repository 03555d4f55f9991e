/*
 * Loaded into a TypeScript tour app by `node --import`: lets it stop where a test wants it, as tour_app.py does.
 *
 * A claim that says `[stop before command 4 of ClaimApproval]` gets its attempt held just before that command leaves
 * the process. The stop is a question to the scripted model server, given up when the engine hangs up.
 */

import http2 from "node:http2";
import { syncBuiltinESMExports } from "node:module";

const MARKER = /\[stop before command (\d+) of (\w+)\]/;
const HEADER_BYTES = 8;
const COMMANDS_FROM = 0x0400;
const COMMANDS_TO = 0x8000;
const createServer = http2.createServer;

http2.createServer = (handle) =>
  createServer((request, response) => {
    const [, kind, service] = request.url.split("/");
    if (kind === "invoke") {
      watch(service, request, response);
    }
    handle(request, response);
  });
syncBuiltinESMExports();

/** Reads along with one attempt, counts its commands and stops before the marked one. */
function watch(service, request, response) {
  const hungUp = new AbortController();
  const read = request[Symbol.asyncIterator].bind(request);
  const write = response.write.bind(response);
  let stop = 0;
  let commands = 0;
  let unsent = Buffer.alloc(0);
  let inOrder = Promise.resolve();

  request.once("close", () => hungUp.abort());
  request[Symbol.asyncIterator] = async function* () {
    for await (const chunk of read()) {
      const found = chunk.toString("latin1").match(MARKER);
      if (found?.[2] === service) {
        stop = Number(found[1]);
      }
      yield chunk;
    }
  };
  response.write = (chunk, done) => {
    unsent = Buffer.concat([unsent, chunk]);
    inOrder = inOrder.then(sendFrames).then(() => done(), done);
  };

  async function sendFrames() {
    while (unsent.length >= HEADER_BYTES) {
      const size = HEADER_BYTES + unsent.readUInt32BE(4);
      if (unsent.length < size) {
        return;
      }
      const frame = unsent.subarray(0, size);
      const type = frame.readUInt16BE(0);
      unsent = unsent.subarray(size);
      if (type >= COMMANDS_FROM && type < COMMANDS_TO && ++commands === stop) {
        await askToGoOn(hungUp.signal);
      }
      await new Promise((resolve, reject) => write(frame, (error) => (error ? reject(error) : resolve())));
    }
  }
}

/** Returns when the rule `stop` answers. */
async function askToGoOn(signal) {
  const body = JSON.stringify({ model: "stop", messages: [] });
  const answer = await fetch(`${process.env.OPENAI_BASE_URL}/chat/completions`, { method: "POST", body, signal });
  await answer.text();
}
