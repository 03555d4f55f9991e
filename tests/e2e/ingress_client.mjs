// Calls the handlers of client_app.py with the official TypeScript ingress client; prints what came back as JSON.
import { connect, rpc, SendOpts } from "@restatedev/restate-sdk-clients";
import { serde } from "@restatedev/restate-sdk-core";

const ingress = connect({ url: process.argv[2] });
const greeter = ingress.serviceClient({ name: "ClientGreeter" });
const counter = ingress.objectClient({ name: "ClientCounter" }, "ts/ü 1");
const signup = ingress.workflowClient({ name: "ClientSignup" }, "ts 1");
const found = {};

const failure = async (promise) => {
  try {
    await promise;
    return "no failure";
  } catch (error) {
    return { status: error.status, body: error.responseText && JSON.parse(error.responseText) };
  }
};
const until = async (ask) => {
  for (;;) {
    const got = await ask();
    if (got) return got;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};
const empty = rpc.opts({ input: serde.empty });

found.call = await greeter.greet("Ada");
found.nothing = await greeter.nothing(rpc.opts({ input: serde.empty, output: serde.empty }));
found.header = await greeter.header("x-tenant", rpc.opts({ headers: { "x-tenant": "blue" } }));
found.refused = await failure(greeter.refuse("now"));
found.unknown = await failure(greeter.grete("Ada"));
found.bytes = Array.from(
  await greeter.reverse(Uint8Array.of(1, 2, 3), rpc.opts({ input: serde.binary, output: serde.binary })),
);
found.generic = await ingress.call({
  service: "ClientGreeter",
  handler: "greet",
  parameter: "Bo",
  opts: rpc.opts({ input: serde.json, output: serde.json }),
});

const key = rpc.opts({ idempotencyKey: "ts-key" });
found.first = await counter.add(5, key);
found.again = await counter.add(5, key);
found.value = await counter.value(empty);

const greetings = ingress.serviceSendClient({ name: "ClientGreeter" });
const sent = await greetings.greet("later", rpc.sendOpts({ idempotencyKey: "ts-send" }));
found.sent = { status: sent.status, attachable: sent.attachable, result: await ingress.result(sent) };
found.sentAgain = (await greetings.greet("later", rpc.sendOpts({ idempotencyKey: "ts-send" }))).status;
const delayed = await greetings.greet("tomorrow", rpc.sendOpts({ delay: { hours: 24 } }));
found.delayed = { id: delayed.invocationId, status: delayed.status };

found.submitted = (await signup.workflowSubmit("Ada")).status;
found.submittedAgain = (await signup.workflowSubmit("Ada")).status;
found.early = (await signup.workflowOutput()).ready;
await signup.click("link", rpc.opts({ output: serde.empty }));
found.attached = await signup.workflowAttach();
found.output = (await signup.workflowOutput()).result;

const approvals = ingress.objectClient({ name: "ClientCounter" }, "ts approvals");
for (const answer of ["resolve", "reject"]) {
  const asked = answer === "resolve" ? approvals.approval(answer) : failure(approvals.approval(answer));
  const seen = found.resolve ? found.awakeable : "";
  found.awakeable = await until(async () => {
    const id = await approvals.awakeable(empty);
    return id !== seen && id;
  });
  if (answer === "resolve") await ingress.resolveAwakeable(found.awakeable, "yes");
  else await ingress.rejectAwakeable(found.awakeable, "no way");
  found[answer] = await asked;
}
found.scoped = await failure(ingress.scope("tenant").serviceClient({ name: "ClientGreeter" }).greet("Ada"));

console.log(JSON.stringify(found));
