// What makes the pages better than without it: they keep themselves up to date, links inside a page do not reload it,
// and the keyboard works. Everything goes through one function: fetch a page of ours, and change what differs.
"use strict";
(() => {
  const main = document.getElementById("main");
  const live = document.getElementById("live");
  document.documentElement.classList.add("has-script");
  let url = location.href, tag = null, failures = 0, took = 0, timer = 0, busy = null;

  // Changes `old` into `made` in place. Elements with ids keep their identity; what a person is using is left alone.
  function change(old, made) {
    if (old.isEqualNode(made) || keeps(old)) return;
    if (old.nodeType !== made.nodeType || old.nodeName !== made.nodeName) { old.replaceWith(made); return; }
    if (old.nodeType === Node.TEXT_NODE) { old.data = made.data; return; }
    if (old.nodeType !== Node.ELEMENT_NODE) return;
    for (const { name } of [...old.attributes])
      if (!made.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
    for (const { name, value } of made.attributes)
      if (old.getAttribute(name) !== value && !(name === "open" && old.nodeName === "DETAILS")) old.setAttribute(name, value);
    children(old, made);
  }
  function children(old, made) {
    const byId = new Map([...old.children].filter((e) => e.id).map((e) => [e.id, e]));
    let at = old.firstChild;
    for (const next of [...made.childNodes]) {
      const known = next.id ? byId.get(next.id) : null;
      if (known) {
        if (known !== at) old.insertBefore(known, at); else at = at.nextSibling;
        change(known, next);
      } else if (at && !(at.id && made.querySelector("#" + CSS.escape(at.id))) && at.nodeName === next.nodeName && !next.id) {
        const following = at.nextSibling;
        change(at, next);
        at = following;
      } else {
        old.insertBefore(next, at);
        if (next.id && next.matches("tr, li.step")) next.classList.add("fresh");
      }
    }
    while (at) { const following = at.nextSibling; if (!keeps(at)) at.remove(); at = following; }
  }
  function keeps(node) {
    if (node.nodeType !== Node.ELEMENT_NODE) return false;
    if (node.matches("form") && (node.contains(document.activeElement) && document.activeElement.matches("input, textarea, select"))) return true;
    if (node.matches("[data-stream]")) return true;
    return node.matches("details[open].edit, details[open].fork") || (node.matches("input[type=checkbox]") && node.checked);
  }

  async function refresh(target, { soft = false } = {}) {
    busy?.abort();
    const mine = (busy = new AbortController());
    const headers = tag && !soft ? { "if-none-match": tag } : {};
    const response = await fetch(target, { headers: { accept: "text/html", "x-rewake-part": "main", ...headers }, signal: mine.signal, cache: "no-store" });
    if (response.status === 304) return;
    const made = new DOMParser().parseFromString(await response.text(), "text/html");
    if (mine.signal.aborted || !made.getElementById("main")) return;
    if (!response.ok && !soft) throw new Error(response.status);
    tag = response.headers.get("etag");
    document.title = made.title;
    document.body.dataset.live = made.body.dataset.live;
    const notice = main.querySelector(":scope > .notice");
    if (notice && !soft && !made.querySelector("#main > .notice")) made.getElementById("main").prepend(notice.cloneNode(true));
    children(main, made.getElementById("main"));
    prepare();
  }
  function schedule() {
    clearTimeout(timer);
    const pause = Number(document.body.dataset.live);
    live.hidden = !pause;
    if (!pause) return;
    timer = setTimeout(async () => {
      if (document.visibilityState === "visible" && !getSelection().toString()) {
        const began = performance.now();
        try { await refresh(url); failures = 0; } catch (error) { if (error.name !== "AbortError") failures += 1; }
        took = performance.now() - began;  // A page that takes long is asked for less often.
        live.classList.toggle("lost", failures > 1);
        live.querySelector(".live-word").textContent = failures > 1 ? "not connected" : "live";
      }
      schedule();
    }, Math.min(Math.max(pause, 4 * took) * (1 + failures), 15000));
  }
  async function go(target, push) {
    if (push) history.pushState(null, "", target);
    url = target;
    try {
      await refresh(target, { soft: true });
      const anchor = new URL(target, location).hash;
      if (anchor && innerWidth <= 1000) document.querySelector(anchor)?.scrollIntoView();
    } catch (error) { if (error.name !== "AbortError") location.href = target; }
    schedule();
  }

  addEventListener("click", (event) => {
    const soft = event.target.closest?.("a[data-soft]");
    if (soft && !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0) {
      event.preventDefault();
      go(soft.href, true);
    }
    const copy = event.target.closest?.("[data-copy]");
    if (copy) navigator.clipboard?.writeText(copy.dataset.copy).then(() => { copy.textContent = "Copied"; });
  });
  addEventListener("formdata", (event) => {  // An address to share says only what is asked for.
    if (!event.target.matches(".filters")) return;
    for (const [name, value] of [...event.formData])
      if (!value || (name === "order" && value === "newest")) event.formData.delete(name);
  });
  addEventListener("popstate", () => go(location.href, false));
  addEventListener("change", (event) => {
    if (event.target.matches("[data-all]"))
      for (const box of document.querySelectorAll("input[name=run]")) box.checked = event.target.checked;
    if (event.target.matches("[data-all], [data-every], input[name=run]")) selected();
    if (event.target.matches("[data-all-items]"))
      for (const box of document.querySelectorAll("input[name=item]")) box.checked = event.target.checked;
    if (event.target.matches(".filters select")) event.target.form.requestSubmit();
  });
  function selected() {
    const count = document.querySelectorAll("input[name=run]:checked").length;
    const words = document.querySelector("[data-selected]");
    if (!words) return;
    const every = document.querySelector("[data-every]")?.checked ?? false;
    words.textContent = every ? "All that match:" : `${count} selected:`;
    for (const bar of document.querySelectorAll(".bulk")) bar.classList.toggle("some", count > 0 || every);
  }

  // Keyboard: rows by j and k, their links by Enter, the search by /.
  const rows = () => [...document.querySelectorAll("main .row-link")];
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches?.("input:not([type=checkbox]), textarea, select");
    if (event.key === "Escape") {
      if (typing) event.target.blur(); else document.querySelector("[data-close]")?.click();
      return;
    }
    if (typing) return;
    if (event.key === "j" || event.key === "k") {
      const all = rows(), at = all.indexOf(document.activeElement);
      all[Math.max(0, Math.min(all.length - 1, at < 0 ? 0 : at + (event.key === "j" ? 1 : -1)))]?.focus();
    } else if (event.key === "x") {
      document.activeElement.closest?.("tr, li")?.querySelector("input[name=run], input[name=item]")?.click();
    } else if (event.key === "/") {
      document.querySelector("[data-search]")?.focus();
    } else if (event.key === "?") {
      location.href = "/ui/help";
    } else return;
    event.preventDefault();
  });
  // What the steps of an open run say at this moment, by the rules of docs/reference/streams.md.
  let saying = null;
  function follow() {
    const place = document.querySelector("[data-stream]");
    if (saying && saying.place !== place) { saying.source.close(); saying = null; }
    if (!place || saying) return;
    const steps = new Map(), source = new EventSource(place.dataset.stream);
    saying = { place, source };
    const textOf = (data) => typeof data === "string" ? data
      : typeof data?.delta?.content_delta === "string" ? data.delta.content_delta
      : data?.type === "response.output_text.delta" ? data.delta : "";
    const of = (step) => steps.get(step) ?? steps.set(step, { name: "", text: "" }).get(step);
    let isDue = false;
    function draw() {
      isDue = false;
      const said = [...steps].filter(([, step]) => step.text).map(([number, step]) => {
        const known = document.getElementById(`said-${number}`), made = known ?? document.createElement("p");
        if (!known) { made.id = `said-${number}`; made.append(document.createElement("b"), document.createElement("span")); }
        made.firstChild.textContent = step.name;
        made.lastChild.textContent = step.text.slice(-4000);
        return made;
      });
      place.replaceChildren(...said);
      place.hidden = !said.length;
    }
    source.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === "step_started") of(event.step).name = event.name;
      else if (event.type === "delta") of(event.step).text += textOf(event.data);
      else if (event.type === "step_committed") steps.delete(event.step);
      else if (event.type === "void" && event.from_offset === 0) steps.clear();
      else if (event.type === "void") for (const step of event.steps ?? []) of(step).text = "";
      else if (event.type === "ended") { steps.clear(); source.close(); }
      if (!isDue) { isDue = true; requestAnimationFrame(draw); }
    };
  }
  function prepare() {
    follow();
    for (const copy of document.querySelectorAll("[data-copy]")) copy.hidden = !navigator.clipboard;
    selected();
  }
  const clean = new URL(location.href);
  if (clean.searchParams.has("notice")) {
    clean.searchParams.delete("notice");
    history.replaceState(null, "", clean);
    url = clean.href;
  }
  prepare();
  schedule();
  document.querySelector("form[data-continue]")?.requestSubmit();
})();
