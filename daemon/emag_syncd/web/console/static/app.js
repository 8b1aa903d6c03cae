// What the pages do by themselves: follow the daemon's events, keep times current, open dialogs.
"use strict";

const language = document.documentElement.lang;
const numbers = kept(() => new Intl.NumberFormat(language, { maximumFractionDigits: 1 }));
const relative = kept(() => new Intl.RelativeTimeFormat(language, { numeric: "auto" }));
const absolute = kept(() => new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "long" }));
const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

// A format takes longer to make than a page to draw: none is made before it is needed.
function kept(make) {
  let made;
  return { format: (...values) => (made ??= make()).format(...values) };
}

// What the server has sent is drawn first; a page that nobody looks at is not drawn, and does not wait for that.
function onceDrawn(work) {
  let done = false;
  const once = () => { if (!done) { done = true; work(); } };
  requestAnimationFrame(() => setTimeout(once));
  setTimeout(once, 250);
}

function inWords(when) {
  const seconds = (when - Date.now()) / 1000;
  const [unit, size] = units.find(([, length]) => Math.abs(seconds) >= length * 1.5) ?? ["second", 1];
  return relative.format(Math.round(seconds / size), unit);
}

// What a chart is drawn with is no style: the colour that a name has now.
function colour(name) {
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.color = `var(${name})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function keepCurrent(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const when = new Date(time.dateTime);
    time.textContent = inWords(when);
    time.title = absolute.format(when); // in the reader's own time zone
  }
}

// One part of the page is exchanged for what the server says now, unless somebody is working in it.
let refreshing = 0;
async function refresh(kinds) {
  const parts = [...document.querySelectorAll("[data-live]")].filter((part) =>
    part.dataset.live.split(" ").some((kind) => kinds.has(kind)),
  );
  if (!parts.length) return;
  const turn = ++refreshing;
  const answer = await fetch(location.href, { headers: { "HX-Request": "true" } }).catch(() => null);
  if (turn !== refreshing || !answer) return;
  await tellTrouble(answer, kinds);
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of parts) {
    const fresh = page.getElementById(part.id);
    if (!fresh || !part.isConnected || part.querySelector("dialog[open]") || part.contains(document.activeElement?.form ?? null)) continue;
    keepCurrent(fresh);
    if (fresh.isEqualNode(part)) continue; // what says the same stays, with its focus and its selection
    const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
    part.replaceWith(fresh);
    htmx.process(fresh);
    if (focused) document.getElementById(focused)?.focus();
    document.dispatchEvent(new CustomEvent("refreshed", { detail: fresh }));
  }
}

// What the server can't show now is said above what it showed last, and tried again.
const trouble = document.getElementById("trouble");
const all = ["run", "change", "count", "health"];
let retrying = 0;
async function tellTrouble(answer, kinds) {
  clearTimeout(retrying);
  const problem = answer.ok ? null : await answer.json().catch(() => ({}));
  trouble.hidden = answer.ok;
  trouble.textContent = problem ? `${trouble.dataset.words} ${problem.detail ?? answer.status}` : "";
  if (problem) retrying = setTimeout(() => refresh(new Set([...all, ...kinds])), 5000);
}

// Events come in bursts; the page follows once a second at most.
const pending = new Set();
let timer = 0;
function soon(kind) {
  pending.add(kind);
  timer ||= setTimeout(() => {
    const kinds = new Set(pending);
    pending.clear();
    timer = 0;
    refresh(kinds);
  }, 1000);
}

function progressed(data) {
  for (const box of document.querySelectorAll(`[data-run="${CSS.escape(data.id)}"]`)) {
    const bar = box.querySelector("progress");
    if (bar && data.total_items) {
      bar.max = data.total_items;
      bar.value = data.processed_items;
    }
    for (const field of box.querySelectorAll("[data-field]")) {
      const value = data[field.dataset.field];
      if (value == null) continue;
      field.textContent = field.dataset.field === "estimated_completion" ? inWords(new Date(value)) : numbers.format(value);
    }
  }
}

// A session that has ended sends a page to the login, and whoever looks at it should go there.
async function loggedOut() {
  const answer = await fetch(location.href, { redirect: "manual", headers: { Accept: "text/html" } }).catch(() => null);
  return answer?.type === "opaqueredirect";
}

function follow() {
  const source = new EventSource(document.body.dataset.events);
  let connected = false;
  source.addEventListener("open", () => {
    document.body.dataset.connection = "live";
    if (connected) refresh(new Set(all)); // what was missed meanwhile
    if (connected && document.querySelector("[data-retry]")) location.reload();
    connected = true;
  });
  source.addEventListener("error", () => {
    document.body.dataset.connection = "lost";
    if (source.readyState === EventSource.CLOSED) loggedOut().then((gone) => (gone ? location.reload() : setTimeout(follow, 5000)));
  });
  source.addEventListener("progress", (event) => {
    progressed(JSON.parse(event.data));
    soon("change");
  });
  source.addEventListener("started", () => soon("run"));
  // The last pages of another process's run are told of by its end alone.
  for (const kind of ["ended", "lost"]) source.addEventListener(kind, () => ["run", "change"].forEach(soon));
  source.addEventListener("pulse", () => soon("pulse"));
  source.addEventListener("counted", () => soon("count"));
  source.addEventListener("missed", () => all.forEach(soon));
  source.addEventListener("health", () => {
    if (document.querySelector("[data-retry]")) location.reload();
    all.forEach(soon); // what could be shown may be what can't, and the other way round
  });
  window.addEventListener("pagehide", () => source.close(), { once: true });
}

function show(dialog, fill) {
  for (const [name, value] of Object.entries(fill)) dialog.querySelector(`[name="${CSS.escape(name)}"]`).value = value;
  dialog.querySelector(".outcome")?.replaceChildren();
  dialog.showModal();
}

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) show(document.getElementById(opener.dataset.opens), JSON.parse(opener.dataset.fill ?? "{}"));
  if (event.target.closest("[data-closes]")) event.target.closest("dialog").close();
});
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.xhr?.status && event.detail.xhr.status < 400) event.target.closest?.("dialog")?.close();
});
// A refusal stays with the form that it is about; one that is no page is put into words here.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr, requestConfig } = event.detail;
  if (xhr.status < 400) return;
  const place = requestConfig.elt.closest("dialog")?.querySelector(".outcome");
  if (!place && requestConfig.verb === "get") { // a list stays as it was, and what stands in its way is said above it
    event.detail.shouldSwap = false;
    tellTrouble(new Response(xhr.responseText, { status: xhr.status }), all);
    return;
  }
  if (place) [event.detail.target, event.detail.swapOverride] = [place, "innerHTML"];
  if (xhr.getResponseHeader("Content-Type")?.startsWith("text/html")) return;
  const toast = Object.assign(document.createElement("div"), { className: "toast bad" });
  try { toast.textContent = JSON.parse(xhr.responseText).detail; } catch { toast.textContent = xhr.statusText; }
  event.detail.serverResponse = toast.outerHTML;
});
document.addEventListener("htmx:sendError", () => { document.body.dataset.connection = "lost"; });
document.addEventListener("htmx:afterSwap", () => keepCurrent(document));
new MutationObserver((records) => {
  for (const record of records) for (const toast of record.addedNodes) if (toast.nodeType === 1) setTimeout(() => toast.remove(), 8000);
}).observe(document.getElementById("toasts"), { childList: true });

onceDrawn(() => {
  // On a narrow screen the tabs scroll, and the current one may be out of sight.
  document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  keepCurrent(document);
  setInterval(() => keepCurrent(document), 15000);
  if (document.body.dataset.events) follow();
});
