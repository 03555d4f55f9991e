// The handlers of the conformance tests in TypeScript, served as HTTP_MODE says: "bidi" over HTTP/2, where both sides
// speak at any time, or "request_response" over HTTP/1.1. With IDENTITY_KEY only signed requests are taken.
import * as http from "node:http";
import * as http2 from "node:http2";
import { createEndpointHandler } from "@restatedev/restate-sdk";
import { options } from "./options.ts";
import { counter, flow, lazyCounter } from "./state.ts";
import { steps } from "./steps.ts";
import { cancels, waits } from "./waits.ts";

const isBidirectional = process.env.HTTP_MODE !== "request_response";
const identityKey = process.env.IDENTITY_KEY;

const handler = createEndpointHandler({
  services: [steps, waits, cancels, counter, lazyCounter, flow, options],
  bidirectional: isBidirectional,
  ...(identityKey === undefined ? {} : { identityKeys: [identityKey] }),
});

const server = isBidirectional ? http2.createServer(handler) : http.createServer(handler);
server.listen(Number(process.env.PORT), "127.0.0.1");
