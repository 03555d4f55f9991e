/*
 * Remote specialists: the TypeScript half. The router and the cover desk are served here, the specialists in Python.
 *
 * A claim crosses the border three times: router.ts calls a specialist of specialists.py, which calls cover.ts and
 * answers. No side imports the other; names and JSON are all they share.
 */

import * as restate from "@restatedev/restate-sdk";
import { coverDesk } from "./cover.ts";
import { claimRouter } from "./router.ts";

const port = await restate.serve({ services: [claimRouter, coverDesk] });
console.log(`ClaimRouter and CoverDesk are at http://localhost:${port}`);
