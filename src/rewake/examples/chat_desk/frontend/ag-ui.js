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

agent.subscribe({
  onMessagesChanged: show,
  onRunInitialized: () => say("Answering…"),
  onRunFinalized: () => { say(agent.pendingInterrupts.length ? "Waiting for an approval" : "Ready"); show(); },
  onRunFailed: () => say("The connection is lost. Trying again…"),
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = form.text.value.trim();
  if (!text || agent.isRunning) return;
  form.text.value = "";
  agent.addMessage({ id: crypto.randomUUID(), role: "user", content: text });
  run({});
});

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
  log.replaceChildren(...agent.messages.map(article), ...agent.pendingInterrupts.map(question));
}

function article(message) {
  const found = element("article", "", { className: message.role });
  if (typeof message.content === "string" && message.content) found.append(element("p", message.content));
  for (const call of message.toolCalls ?? []) {
    found.append(element("code", `${call.function.name}(${call.function.arguments})`));
  }
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

async function load() {
  const view = await (await fetch(`/api/chat/${encodeURIComponent(threadId)}?format=ag-ui`)).json();
  agent.setMessages(view.messages);
  show();
  say("Ready");
  if (view.status === "running" || view.status === "waiting") await run({});
}

load();
