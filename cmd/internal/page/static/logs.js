// The logs of a run: one of them, as it is written.
import { el, link, name, show, visible } from "./dom.js";
import { LogView } from "./log.js";

const over = {
  lost: "The worker was lost: this is all that came of the log.",
  exception: "The infrastructure failed: this is all that came of the log.",
  superseded: "The run was not completed: this is all that came of the log.",
  unresolved: "The deadline has passed: this is all that came of the log.",
};

// logOf shows the logs at an address of the API. ask brings the run up to date, state says how it stands.
export function logOf(address, ask, state) {
  const wanted = new URLSearchParams(location.search).get("log");
  const choices = el("nav", { class: "tabs small", "aria-label": "Logs" });
  const links = el("p", { class: "links" });
  const notes = el("div");
  const place = el("div", { class: "log-place" });
  place.addEventListener("focusin", ({ target }) => { // what a search finds is to be seen
    if (target.matches("input")) place.scrollIntoView({ block: "nearest" });
  });
  const element = el("section", { class: "log-section", "aria-labelledby": "log-title" },
    el("div", { class: "section-title" }, el("h2", { id: "log-title" }, "Log"), choices, links), notes, place);
  let stream = null;
  let shown = null;

  return {
    element,
    update(run) {
      const log = run.logs.find((one) => one.name === wanted) ?? run.logs.find((one) => one.name === "terminal.log") ?? run.logs[0];
      show(choices, [run.logs.map((one) => one.name), log?.name], () => (run.logs.length > 1 ? run.logs.map((one) => tab(one, log)) : null));
      show(links, [log, run.state], () => (log ? around(address, log, run) : null));
      show(notes, [log?.incomplete, run.logs.length, run.state], () => warnings(log, run));
      if (!log || shown === log.name) return;
      shown = log.name;
      stream?.close();
      place.replaceChildren();
      stream = follow(place, (offset) => `${address}?${new URLSearchParams({ name: log.name, offset })}`, async () => {
        await ask().catch(() => {});
        return over[state()] ?? "The log is complete.";
      });
    },
    // The viewer has keys of its own, and knows them while the focus is in it or nowhere; these are for the rest of the page.
    search: () => stream?.view.tools?.input.focus(),
    follow: () => stream?.view.follow(!stream.view.following),
    close: () => stream?.close(),
  };
}

function tab(log, chosen) {
  return el("a", { href: `?${new URLSearchParams({ log: log.name })}`, "aria-current": log === chosen ? "page" : null }, name(log.name));
}

function around(address, log, run) {
  const going = run.state === "running";
  return [
    el("a", {
      class: "download", href: `${address}?${new URLSearchParams({ name: log.name })}`, download: true,
      title: going ? "The download goes on until the log ends" : null,
    }, going ? "Download as it grows" : "Download"),
    link(log.url, "In the storage"),
  ];
}

function warnings(log, run) {
  if (!log) {
    const text = run.state === "running" ? "The run has declared no logs yet." : "The run has declared no logs.";
    return el("p", { class: "empty" }, text);
  }
  return log.incomplete ? el("p", { class: "note problem", role: "note" }, el("strong", {}, "This log is incomplete. "), visible(log.incomplete)) : null;
}

// follow reads a log into a new view at place, again from where it was when the connection breaks, until it ends.
function follow(place, url, ended) {
  const view = new LogView(place.appendChild(el("div", { class: "log" })));
  const status = place.appendChild(el("p", { class: "log-status", role: "status" }));
  const stop = new AbortController();
  let offset = 0;

  async function read() {
    const response = await fetch(url(offset), { signal: stop.signal, cache: "no-store" });
    if (!response.ok) throw new Error((await response.json()).error);
    status.textContent = "";
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      view.append(value);
      offset += value.length;
      place.style.setProperty("--lines", Math.min(view.lines, 1000)); // a short log needs no large window
    }
  }

  async function keepReading() {
    for (let pause = 500; !stop.signal.aborted; pause = Math.min(pause * 2, 10000)) {
      const before = offset;
      try {
        await read();
        view.end(await ended());
        return;
      } catch (error) {
        if (stop.signal.aborted) return;
        const why = error instanceof TypeError ? "The connection broke off" : visible(error.message);
        status.textContent = `${why}; trying again…`;
      }
      if (offset > before) pause = 500;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  keepReading();
  return {
    view,
    close() {
      stop.abort();
      view.remove();
    },
  };
}
