// The handlers `steps` and `same` of http_apps.py in TypeScript, served as HTTP_MODE says. The server for HTTP/2 may
// have moods: it resets every RESETS_EVERY-th stream soon after it began, and leaves a connection after LEAVES_AFTER.
import { appendFileSync } from "node:fs";
import * as http from "node:http";
import * as http2 from "node:http2";
import * as restate from "@restatedev/restate-sdk";

const MARKS = `${process.env.REWAKE_TEST_STAGE}/marks`;
const STEP_COUNT = 4;

const CHAIN = { name: "TsChain" } as restate.ServiceDefinition<
  "TsChain",
  { same: (ctx: restate.Context, value: number) => Promise<number> }
>;

const chain = restate.service({
  name: "TsChain",
  handlers: {
    steps: async (ctx: restate.Context, number: number) => {
      const attempt = ctx.request().attemptHeaders.get("x-attempt");
      let sum = number;
      for (let index = 0; index < STEP_COUNT; index++) {
        const before = sum;
        sum = await ctx.run(`step ${index}`, async () => {
          appendFileSync(MARKS, `TsChain ${number}/${index} ${attempt}\n`);
          await new Promise((resolve) => setTimeout(resolve, 3));
          return before + 1;
        });
      }
      return ctx.serviceClient(CHAIN).same(sum);
    },
    same: async (_: restate.Context, value: number) => value,
  },
});

const handler = restate.createEndpointHandler({ services: [chain] });
const resetsEvery = Number(process.env.RESETS_EVERY ?? Infinity);
const leavesAfter = Number(process.env.LEAVES_AFTER ?? Infinity);
const counts = new Map<http2.Http2Session, number>();
let total = 0;

function moody(request: http2.Http2ServerRequest, response: http2.Http2ServerResponse): void {
  const { stream } = request;
  const { session } = stream;
  const count = (counts.get(session!) ?? 0) + 1;
  counts.set(session!, count);
  total += 1;
  handler(request, response);
  if (total % resetsEvery === 0) setTimeout(() => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR), 5);
  if (count === leavesAfter) session!.close();
}

const server = process.env.HTTP_MODE === "http1" ? http.createServer(handler) : http2.createServer(moody);
server.listen(Number(process.env.PORT), "127.0.0.1");
