// The same conversation on a client of AG-UI, without a framework around it.
import { HttpAgent } from "@ag-ui/client";

const url = new URL(location.href);
if (!url.searchParams.has("chat")) {
  url.searchParams.set("chat", crypto.randomUUID());
  history.replaceState(null, "", url);
}
const threadId = url.searchParams.get("chat");
const agent = new HttpAgent({ url: "/api/chat/ag-ui", threadId });
const log = document.querySelector("[role=log]");
const status = document.querySelector("[role=status]");
const form = document.querySelector("form");
const LOOK_MS = 1500;
const path = `/api/chat/${encodeURIComponent(threadId)}`;
let queued = [];

agent.subscribe({
  onMessagesChanged: show,
  onRunInitialized: () => say("Answering…"),
  onRunFinalized: () => { say(agent.pendingInterrupts.length ? "Waiting for an approval" : "Ready"); show(); },
  onRunFailed: () => say("The connection is lost. Trying again…"),
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = form.text.value.trim();
  if (!text) return;
  form.text.value = "";
  const id = crypto.randomUUID();
  if (agent.isRunning || agent.pendingInterrupts.length || queued.length) return void beside({ id, text });
  agent.addMessage({ id, role: "user", content: text });
  run({});
});

// In mid-turn a message goes beside the run: what becomes of it is the chat's policy.
async function beside(message) {
  queued.push(message);
  show();
  const options = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(message) };
  const response = await fetch(`${path}/messages`, options).catch(() => null);
  if (response?.ok) return;
  queued = queued.filter((each) => each.id !== message.id);
  show();
  say(`Not sent: ${(await response?.json().catch(() => null))?.message ?? "no connection."}`);
}

async function run(parameters) {
  for (;;) {
    try {
      return await agent.runAgent(parameters);
    } catch {
      await new Promise((done) => setTimeout(done, 1000));
      if (parameters.resume) parameters = {}; // the answer has arrived, or is asked for again
    }
  }
}

function answer(interrupt, approved) {
  const payload = approved ? { approved } : { approved, reason: "A person said no." };
  run({ resume: [{ interruptId: interrupt.id, status: "resolved", payload }] });
}

function say(text) {
  status.textContent = text;
}

function element(name, text, more = {}) {
  return Object.assign(document.createElement(name), { textContent: text, ...more });
}

function show() {
  const waiting = queued.filter((each) => !agent.messages.some((message) => message.id === each.id));
  log.replaceChildren(...agent.messages.map(article), ...agent.pendingInterrupts.map(question), ...waiting.map(later));
}

function article(message) {
  const found = element("article", "", { className: message.role });
  if (typeof message.content === "string" && message.content) found.append(element("p", message.content));
  for (const call of message.toolCalls ?? []) {
    found.append(element("code", `${call.function.name}(${call.function.arguments})`));
  }
  return found;
}

function later(message) {
  const found = element("article", "", { className: "user queued" });
  found.append(element("p", message.text), element("p", "waits", { className: "note" }));
  return found;
}

function question(interrupt) {
  const found = element("div", "", { className: "tool" });
  const buttons = element("p", "");
  buttons.append(
    element("button", "Approve", { onclick: () => answer(interrupt, true) }),
    element("button", "Deny", { onclick: () => answer(interrupt, false) }),
  );
  found.append(element("p", interrupt.message), buttons);
  if (interrupt.expiresAt) found.append(element("small", `until ${new Date(interrupt.expiresAt).toLocaleString()}`));
  return found;
}

// Another tab, a colleague's answer, a deadline: look; what streams here is newer.
async function look() {
  const before = agent.messages;
  const view = await (await fetch(`${path}?format=ag-ui`)).json();
  queued = view.queued;
  if (agent.isRunning || agent.messages !== before) return show();
  const isOpen = view.status === "running" || view.status === "waiting";
  const isKnown = view.status === "waiting" && agent.pendingInterrupts.length > 0;
  if (isKnown || (!isOpen && shape(view.messages) === shape(before) && !agent.pendingInterrupts.length)) return show();
  agent.setMessages(view.messages);
  agent.pendingInterrupts = [];
  show();
  if (isOpen) run({});
  else say("Ready");
}

const shape = (messages) => JSON.stringify(messages.map(({ id, content }) => [id, content]));

async function load() {
  await look().catch(() => say("The connection is lost. Trying again…"));
  if (status.textContent === "Loading…" && !agent.isRunning) say("Ready");
  setInterval(() => document.hidden || look().catch(() => null), LOOK_MS);
}

load();
