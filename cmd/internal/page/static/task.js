// A task: what it is, its runs, and of one run the logs, the artifacts and the documents.
import { artifactsOf } from "./artifacts.js";
import { documentsOf } from "./documents.js";
import { badge, duration, el, explanations, link, name, setTitle, show, states, time, visible } from "./dom.js";
import { logOf } from "./logs.js";

const settled = ["success", "failure", "exception", "unresolved"];

// taskPage shows a task; run is the number of the run, null for the latest.
export function taskPage(main, id, run) {
  const api = `/api/tasks/${encodeURIComponent(id)}`;
  const head = el("div", { class: "head" });
  const runs = el("nav", { "aria-label": "Runs", class: "tabs" });
  const facts = el("div");
  const body = el("div");
  const news = document.getElementById("news");
  let task = null;
  let shownRun = null; // the view of a run
  let state = null;

  // ask gives the task as it is now, at once.
  async function ask() {
    const response = await fetch(api, { cache: "no-store" });
    if (response.ok) update(await response.json());
  }

  function chosen() {
    return run === null ? task.runs.at(-1) : task.runs.find((one) => one.id === run);
  }

  function update(answer) {
    task = answer;
    if (!head.isConnected) main.replaceChildren(head, runs, facts, body);
    setTitle(task.state, task.name || id);
    if (state !== task.state) {
      if (state !== null) news.textContent = `The task: ${states[task.state]}, ${explanations[task.state]}`;
      state = task.state;
    }
    show(head, { ...task, runs: null, documents: null }, () => heading(task));
    const one = chosen();
    show(runs, [task.runs.map((each) => [each.id, each.state]), one?.id], () => (task.runs.length > 0 ? tabs(task, one) : null));
    if (!one) {
      shownRun = null;
      show(facts, [], () => null);
      show(body, [task.documents, task.state], () => [noRun(task, run), documents(task, null)]);
      return;
    }
    show(facts, one, () => runFacts(one));
    if (shownRun?.id !== one.id) {
      shownRun?.close();
      shownRun = runView(api, one.id, ask, () => chosen()?.state);
      show(body, ["run", one.id], () => shownRun.elements);
    }
    shownRun.update(task, one);
  }

  function go(step) {
    const to = task?.runs[task.runs.indexOf(chosen()) + step];
    if (to) location.assign(`/tasks/${encodeURIComponent(id)}/runs/${to.id}`);
  }

  return {
    url: api,
    update,
    refused(status, why) {
      const text = status === 404 ? "There is no such task in the storage (yet)." : "The task cannot be read.";
      if (!task) show(main, why, () => el("div", { class: "empty", role: "alert" }, el("p", {}, text), el("p", { class: "problem" }, visible(why))));
    },
    pause: () => (task && settled.includes(task.state) ? 4000 : 1000),
    keys: {
      "/": () => shownRun?.log.search(), f: () => shownRun?.log.follow(),
      "[": () => go(-1), "]": () => go(1),
    },
  };
}

function documents(task, run) {
  const view = documentsOf(`/api/tasks/${encodeURIComponent(task.id)}`);
  view.update(task, run);
  return view.element;
}

// runView is what is shown of one run. It stays while the run does, so that nothing a reader has opened is closed under their eyes.
function runView(api, id, ask, state) {
  const log = logOf(`${api}/runs/${id}/log`, ask, state);
  const artifacts = artifactsOf(`${api}/runs/${id}/artifacts`);
  const papers = documentsOf(api);
  return {
    id, log,
    elements: [log.element, artifacts.element, papers.element],
    update(task, run) {
      log.update(run);
      artifacts.update(run);
      papers.update(task, run);
    },
    close: () => log.close(),
  };
}

function heading(task) {
  const tags = Object.entries(task.tags ?? {}).map(([key, value]) => el("li", {}, name(key), ": ", name(value)));
  return [
    el("div", { class: "title" }, el("h1", {}, task.name ? name(task.name) : "A task without a definition"), badge(task.state)),
    el("p", { class: "under" }, el("span", { class: "mono" }, task.id), task.state in explanations && el("span", {}, explain(task))),
    task.description && el("p", { class: "description", dir: "auto" }, task.description),
    el("dl", { class: "facts" },
      fact("For", task.provisionerId && name(`${task.provisionerId}/${task.workerType}`)),
      fact("Owner", task.owner && name(task.owner)),
      fact("Source", task.source?.text && link(task.source, task.source.text)),
      fact("Created", time(task.created)),
      fact("Deadline", time(task.deadline)),
      fact("Claimed until", time(task.takenUntil)),
      fact("Priority", task.priority ? String(task.priority) : ""),
      fact("Runs left", task.state === "pending" || task.state === "running" ? String(task.retries) : ""),
      fact("Routing", task.routing && name(task.routing)),
      fact("Tags", tags.length > 0 && el("ul", { class: "tags" }, tags))),
  ];
}

function explain(task) {
  const reason = task.reason && task.reason !== "none" ? ` (${visible(task.reason)})` : "";
  return explanations[task.state] + reason;
}

function fact(title, value) {
  return value ? el("div", {}, el("dt", {}, title), el("dd", {}, value)) : null;
}

function tabs(task, chosen) {
  return task.runs.map((run) => el("a", {
    href: `/tasks/${encodeURIComponent(task.id)}/runs/${run.id}`, "aria-current": run === chosen ? "page" : null,
  }, `Run ${run.id}`, badge(run.state)));
}

function runFacts(run) {
  const took = run.started && run.finished ? new Date(run.finished) - new Date(run.started) : -1;
  return el("dl", { class: "facts" },
    fact(states[run.state], ["running", "success", "failure"].includes(run.state) ? null : explanations[run.state]),
    fact("Worker", run.worker && name(run.worker)),
    fact("Started", time(run.started)),
    fact("Finished", time(run.finished)),
    fact("Took", took >= 0 && duration(took)),
    ...Object.entries(run.result).map(([key, value]) => fact(key === "exitCode" ? "Exit status" : visible(key), name(value))));
}

function noRun(task, run) {
  if (run !== null) return el("p", { class: "empty" }, `The task has no run ${run}.`);
  return el("p", { class: "empty" }, task.state === "pending" ? "No worker has claimed the task yet. The run will be shown as soon as one has." : "No run of this task has left anything.");
}
