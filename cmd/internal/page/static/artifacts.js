// The artifacts of a run: those that are stored, and those that are missing.
import { el, link, name, show, size, visible } from "./dom.js";

export function artifactsOf(address) {
  const count = el("span", { class: "count" });
  const body = el("div");
  const element = el("section", { "aria-labelledby": "artifacts-title" },
    el("div", { class: "section-title" }, el("h2", { id: "artifacts-title" }, "Artifacts ", count)), body);
  let loaded = null; // what the list is of
  let all = 0;
  let artifacts = [];
  let run = null;

  async function load(from) {
    const response = await fetch(`${address}?from=${from}`, { cache: "no-store" });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    all = answer.all;
    artifacts = artifacts.slice(0, from).concat(answer.artifacts);
  }

  async function refresh(from) {
    try {
      await load(from);
      draw("");
    } catch (error) {
      loaded = null; // the next update tries again
      draw(`The artifacts cannot be read: ${visible(error.message)}`);
    }
  }

  function draw(problem) {
    show(body, [artifacts, all, run.missing, run.missingAll, problem], () => [
      problem && el("p", { class: "note problem" }, problem),
      table(artifacts, run),
      artifacts.length < all && el("button", { type: "button", onclick: () => refresh(artifacts.length) }, `Show more (${all - artifacts.length} not shown)`),
      run.missingAll > run.missing.length && el("p", { class: "note" }, `${run.missingAll - run.missing.length} more are missing; result.json names them.`),
    ]);
  }

  return {
    element,
    update(now) {
      run = now;
      count.textContent = run.artifacts > 0 ? String(run.artifacts) : "";
      const key = `${run.artifacts} ${run.finished} ${run.missingAll}`;
      if (run.artifacts === 0 && run.missingAll === 0) show(body, run.state, () => el("p", { class: "empty" }, none(run)));
      else if (loaded !== key) {
        loaded = key;
        refresh(0);
      }
    },
  };
}

function none(run) {
  if (run.state === "running") return "Artifacts are listed here when result.json is stored, at the end of the run.";
  return run.finished ? "The run has stored no artifacts." : "There is no result.json, so nobody knows of any artifacts.";
}

function table(artifacts, run) {
  const rows = [...run.missing.map(missing), ...artifacts.map(row)];
  return el("table", { class: "list artifacts" },
    el("thead", {}, el("tr", {}, ["Name", "Type", "Size"].map((title) => el("th", { scope: "col" }, title)))), el("tbody", {}, rows));
}

function row(artifact) {
  return el("tr", {},
    el("th", { scope: "row" }, link(artifact.url, artifact.name), artifact.problem && el("small", { class: "problem" }, visible(artifact.problem)),
      artifact.expires && !artifact.problem && el("small", {}, `stored until ${artifact.expires}`)),
    el("td", { class: "type" }, name(artifact.contentType)),
    el("td", { class: "number" }, artifact.size >= 0 ? size(artifact.size) : "unknown"));
}

function missing(artifact) {
  return el("tr", { class: "missing" },
    el("th", { scope: "row" }, name(artifact.name), el("small", { class: "problem" }, visible(artifact.reason))),
    el("td", { class: "type" }, el("span", { class: "badge invalid" }, "missing")), el("td", { class: "number" }));
}
