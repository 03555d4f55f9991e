// The handlers of the conformance tests in TypeScript. HTTP_MODE says how they are served: "http2", where both sides
// speak at any time, "http1" in requests and responses, or each of them the other way, "http2_request_response" and
// "http1_bidi". With IDENTITY_KEY only signed requests are taken.
import * as http from "node:http";
import * as http2 from "node:http2";
import { createEndpointHandler } from "@restatedev/restate-sdk";
import { options } from "./options.ts";
import { counter, flow, lazyCounter } from "./state.ts";
import { steps } from "./steps.ts";
import { cancels, waits } from "./waits.ts";

const [version, way] = (process.env.HTTP_MODE ?? "http2").split(/_(.*)/);
const isBidirectional = way === undefined ? version === "http2" : way === "bidi";
const identityKey = process.env.IDENTITY_KEY;

const handler = createEndpointHandler({
  services: [steps, waits, cancels, counter, lazyCounter, flow, options],
  bidirectional: isBidirectional,
  ...(identityKey === undefined ? {} : { identityKeys: [identityKey] }),
});

const server = version === "http2" ? http2.createServer(handler) : http.createServer(handler);
server.listen(Number(process.env.PORT), "127.0.0.1");
