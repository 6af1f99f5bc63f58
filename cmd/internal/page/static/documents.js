// The documents of a task and a run: whether they are there and valid, and their text.
import { el, show, size, visible } from "./dom.js";

export function documentsOf(api) {
  const list = el("div", { class: "documents" });
  const element = el("section", { "aria-labelledby": "documents-title" },
    el("div", { class: "section-title" }, el("h2", { id: "documents-title" }, "Documents")), list);
  const known = new Map();

  function place(document, address) {
    if (!known.has(address)) {
      known.set(address, paper(address));
      list.append(known.get(address).element);
    }
    known.get(address).update(document);
  }

  return {
    element,
    update(task, run) {
      const [definition, resolution] = task.documents;
      place(definition, `${api}/documents/${definition.name}`);
      for (const document of run?.documents ?? []) place(document, `${api}/runs/${run.id}/documents/${document.name}`);
      place(resolution, `${api}/documents/${resolution.name}`);
    },
  };
}

const validities = { valid: "valid", invalid: "not valid", unreadable: "cannot be read", absent: "not there", gone: "no longer stored" };
const bodiless = (document) => document.state === "absent" || document.state === "gone";

// paper is one document. Its text is fetched when somebody opens it, and again when it has changed.
function paper(address) {
  const summary = el("summary");
  const body = el("div", { class: "document" });
  const element = el("details", { ontoggle: () => load() }, summary, body);
  let now = null;
  let loaded = null;

  async function load() {
    const key = JSON.stringify(now);
    if (!element.open || loaded === key || bodiless(now)) return;
    loaded = key;
    let text;
    try {
      const response = await fetch(address, { cache: "no-store" });
      const answer = await response.json();
      text = response.ok ? answer.text + (answer.cut ? "\n…" : "") : answer.error;
    } catch {
      loaded = null; // opening it again tries again
      text = "It cannot be read now.";
    }
    body.replaceChildren(problems(now), el("pre", { tabindex: "0", "aria-label": now.name, dir: "ltr" }, visibleText(text)));
  }

  return {
    element,
    update(document) {
      now = document;
      show(summary, document, () => [
        el("span", { class: "mono" }, document.name),
        el("span", { class: `badge ${document.state}` }, validities[document.state]),
        el("span", { class: "size" }, document.size > 0 ? size(document.size) : ""),
      ]);
      element.classList.toggle("absent", bodiless(document));
      if (document.state === "gone") body.replaceChildren(problems(document));
      if (document.state === "absent") body.replaceChildren(el("p", { class: "empty" }, "This document is not stored, or not yet."));
      load();
    },
  };
}

function problems(document) {
  if (document.problems.length === 0) return "";
  const more = document.more > 0 ? [el("li", {}, `and ${document.more} more`)] : [];
  return el("ul", { class: "problems" }, document.problems.map((problem) => el("li", {}, visible(problem))), more);
}

// visibleText is visible, but for line breaks.
const visibleText = (text) => text.split("\n").map(visible).join("\n");
