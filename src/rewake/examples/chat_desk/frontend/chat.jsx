// A chat window on the AI SDK's useChat. The conversation lives on the server: this page shows it, whoever else writes.
import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport, lastAssistantMessageIsCompleteWithApprovalResponses } from "ai";
import { useEffect, useRef, useState } from "react";
import { createRoot } from "react-dom/client";

const API = "/api/chat";
const LOOK_MS = 1500;
const url = new URL(location.href);
if (!url.searchParams.has("chat")) {
  url.searchParams.set("chat", crypto.randomUUID());
  history.replaceState(null, "", url);
}
const id = url.searchParams.get("chat");

async function look() {
  const response = await fetch(`${API}/${encodeURIComponent(id)}`);
  if (!response.ok) throw new Error(`${response.status}`);
  return response.json();
}

function App() {
  const [first, setFirst] = useState(null);
  useEffect(() => {
    let over = false;
    const load = () => look().then((view) => over || setFirst(view)).catch(() => over || setTimeout(load, LOOK_MS));
    load();
    return () => { over = true; };
  }, []);
  return first ? <Chat first={first} /> : <p role="status">Loading…</p>;
}

function Chat({ first }) {
  const chat = useChat({
    id,
    messages: first.messages,
    resume: first.status === "running",
    transport: new DefaultChatTransport({ api: API, prepareSendMessagesRequest: lastMessageOnly }),
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
  });
  const { messages, status, sendMessage, setMessages, addToolApprovalResponse, resumeStream, clearError } = chat;
  const [queued, setQueued] = useState(first.queued);
  const [problem, setProblem] = useState("");
  const now = useRef();
  now.current = { messages, status };

  // Another tab, a colleague's answer, a deadline, an engine that was away: look; what streams here is newer.
  useEffect(() => {
    const timer = setInterval(async () => {
      if (document.hidden) return;
      const before = now.current.messages;
      const view = await look().catch(() => null);
      if (view) setQueued(view.queued);
      if (!view || isBusy(now.current.status) || now.current.messages !== before) return;
      if (now.current.status === "error") clearError();
      if (view.status === "running") {
        setMessages(view.messages);
        await resumeStream();
      } else if (shape(view.messages) !== shape(before)) {
        setMessages(view.messages);
      }
    }, LOOK_MS);
    return () => clearInterval(timer);
  }, []);

  // In mid-turn a message goes beside the stream: what becomes of it is the chat's policy.
  const send = async (text) => {
    setProblem("");
    if (!isBusy(status) && !isAsking(messages) && !queued.length) return sendMessage({ text });
    const message = { id: crypto.randomUUID(), text };
    setQueued((before) => [...before, message]);
    const refused = await post("messages", message);
    if (refused) setQueued((before) => before.filter((each) => each.id !== message.id));
    setProblem(refused);
  };
  const stop = async () => {
    await post("stop", {});
    await chat.stop();
  };
  const shown = new Set(messages.flatMap(articles).map(({ key }) => key));
  return (
    <>
      <section role="log" aria-label="Conversation" aria-live="polite">
        {messages.flatMap(articles).map(({ key, role, parts }) => (
          <article key={key} className={role}>
            {parts.map((part, place) => (
              <Part key={place} part={part} answer={addToolApprovalResponse} />
            ))}
          </article>
        ))}
        {queued.filter((message) => !shown.has(message.id)).map((message) => (
          <article key={message.id} className="user queued">
            <p>{message.text}</p>
            <p className="note">waits</p>
          </article>
        ))}
      </section>
      <p role="status">{said(status, messages)}</p>
      {problem && <p role="alert">{problem}</p>}
      <Writer send={send} isBusy={isBusy(status)} stop={stop} />
    </>
  );
}

async function post(what, body) {
  const options = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(`${API}/${encodeURIComponent(id)}/${what}`, options).catch(() => null);
  return response?.ok ? "" : `Not sent: ${(await response?.json().catch(() => null))?.message ?? "no connection."}`;
}

// A message that the agents read in mid-turn is a part of their answer: it is shown as one of the user's.
function articles({ id, role, parts }) {
  const found = [{ key: id, role, parts: [] }];
  for (const part of parts) {
    if (part.type === "steering-message") {
      found.push({ key: part.id, role: "user", parts: part.parts }, { key: `${id}/${part.id}`, role, parts: [] });
    } else {
      found.at(-1).parts.push(part);
    }
  }
  return found;
}

const isBusy = (status) => status === "submitted" || status === "streaming";
// The server has the history; the page sends what is new.
const lastMessageOnly = ({ id, messages, trigger, body }) => ({ body: { ...body, id, trigger, messages: messages.slice(-1) } });
const shape = (messages) =>
  JSON.stringify(messages.map((message) => [message.id, message.parts.filter((part) => part.type !== "data-agent").map((part) => [part.type, part.state, part.text])]));

const isAsking = (messages) => messages.at(-1)?.parts.some((part) => part.state === "approval-requested");

function said(status, messages) {
  if (status === "error") return "The connection is lost. Trying again…";
  if (isBusy(status)) return "Answering…";
  return isAsking(messages) ? "Waiting for an approval" : "Ready";
}

function Part({ part, answer }) {
  switch (part.type) {
    case "text": return <p>{part.text}</p>;
    case "reasoning": return <p className="reasoning">{part.text}</p>;
    case "data-handoff": return <p className="note">Handed over to {part.data.agent}</p>;
    case "dynamic-tool": return <Tool part={part} answer={answer} />;
    default: return null;
  }
}

const STATES = {
  "input-streaming": "is being written", "input-available": "runs", "approval-requested": "asks for approval",
  "approval-responded": "was answered", "output-available": "done", "output-denied": "denied", "output-error": "failed",
};

function Tool({ part, answer }) {
  const approval = part.approval;
  const expires = approval?.descriptor?.expiresAtMs;
  return (
    <div className="tool" data-state={part.state}>
      <p><code>{part.toolName}({JSON.stringify(part.input ?? {})})</code> {STATES[part.state]}</p>
      {part.preliminary && <p className="note">{part.output.agent}: {part.output.text}</p>}
      {part.state === "output-available" && !part.preliminary && <p className="note">{show(part.output)}</p>}
      {part.state === "output-denied" && approval?.reason && <p className="note">{approval.reason}</p>}
      {part.state === "approval-requested" && (
        <p>
          <button onClick={() => answer({ id: approval.id, approved: true })}>Approve</button>
          <button onClick={() => answer({ id: approval.id, approved: false, reason: "A person said no." })}>Deny</button>
          {expires && <small> until {new Date(expires).toLocaleString()}</small>}
        </p>
      )}
    </div>
  );
}

const show = (value) => (typeof value === "string" ? value : JSON.stringify(value));

function Writer({ send, isBusy, stop }) {
  const [text, setText] = useState("");
  const submit = (event) => {
    event.preventDefault();
    if (!text.trim()) return;
    send(text);
    setText("");
  };
  return (
    <form onSubmit={submit}>
      <label htmlFor="text">Message</label>
      <input id="text" value={text} onChange={(event) => setText(event.target.value)} autoComplete="off" autoFocus />
      <button>Send</button>
      {isBusy && <button type="button" onClick={stop}>Stop</button>}
    </form>
  );
}

createRoot(document.getElementById("chat")).render(<App />);
