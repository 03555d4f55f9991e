// The handlers `steps` and `same` of http_apps.py in TypeScript, served over HTTP/2.
import { appendFileSync } from "node:fs";
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
      let total = number;
      for (let index = 0; index < STEP_COUNT; index++) {
        const before = total;
        total = await ctx.run(`step ${index}`, async () => {
          appendFileSync(MARKS, `TsChain ${number}/${index} ${attempt}\n`);
          await new Promise((resolve) => setTimeout(resolve, 3));
          return before + 1;
        });
      }
      return ctx.serviceClient(CHAIN).same(total);
    },
    same: async (_: restate.Context, value: number) => value,
  },
});

restate.serve({ services: [chain], port: Number(process.env.PORT) });
