// The list of tasks.
import { badge, el, name, setTitle, show, time, visible } from "./dom.js";

const taskId = /^[A-Za-z0-9_-]{22}$/;

export function taskList(main) {
  let list = null;
  const search = el("input", {
    type: "search", id: "search", placeholder: "Filter, or open a task by its id", "aria-label": "Filter the tasks, or open one by its id",
    "aria-keyshortcuts": "/", autocomplete: "off", spellcheck: "false", oninput: () => update(list),
  });
  const form = el("form", { class: "find", role: "search" }, search, el("button", {}, "Open"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = search.value.trim();
    const only = matching();
    if (taskId.test(wanted)) location.assign(`/tasks/${wanted}`);
    else if (only.length === 1) location.assign(`/tasks/${only[0].id}`);
    else note.textContent = "A task id has 22 characters: A-Z a-z 0-9 - _";
  });
  const note = el("p", { class: "note", role: "status" });
  const count = el("span", { class: "count" });
  const body = el("div", { class: "tasks" });
  main.replaceChildren(el("div", { class: "title" }, el("h1", {}, "Tasks ", count), form), note, body);

  function matching() {
    const wanted = search.value.trim().toLowerCase();
    return (list?.tasks ?? []).filter((task) => `${task.id} ${task.name} ${task.worker} ${task.state}`.toLowerCase().includes(wanted));
  }

  function update(answer) {
    list = answer;
    if (!list) return;
    const tasks = matching();
    const running = list.tasks.filter((task) => task.state === "running").length;
    setTitle(null, running > 0 ? `${running} running` : "Tasks");
    count.textContent = list.listed ? String(list.all) : "";
    note.textContent = list.all > list.tasks.length ? `The newest ${list.tasks.length} of ${list.all} tasks are listed.` : "";
    show(body, [tasks, list.listed, list.all], () => (tasks.length > 0 ? table(tasks) : empty(list)));
  }

  return {
    url: "/api/tasks",
    update,
    refused: (status, why) => show(body, why, () => el("p", { class: "note problem", role: "alert" }, `The tasks cannot be listed: ${visible(why)}`)),
    pause: () => 1000,
    keys: { "/": () => search.focus() },
  };
}

function empty(list) {
  if (list.listed && list.all > 0) return el("p", { class: "empty" }, "No task matches.");
  if (list.listed) return el("p", { class: "empty" }, "No task has been posted yet. This list will show it as soon as there is one.");
  return el("p", { class: "empty" }, "This storage has no list of tasks. Open one by its id.");
}

function table(tasks) {
  const head = el("thead", {}, el("tr", {}, ["State", "Task", "For", "Runs", "Created"].map((title) => el("th", { scope: "col" }, title))));
  return el("table", { class: "list" }, head, el("tbody", {}, tasks.map(row)));
}

function row(task) {
  const address = `/tasks/${encodeURIComponent(task.id)}`;
  return el("tr", {},
    el("td", { class: "state" }, badge(task.state), task.reason && task.reason !== "none" && el("small", {}, visible(task.reason))),
    el("th", { scope: "row" }, el("a", { href: address }, task.name ? name(task.name) : name(task.id)),
      el("small", { class: "mono" }, task.id), task.problem && el("small", { class: "problem" }, visible(task.problem))),
    el("td", { class: "for" }, name(task.worker)),
    el("td", { class: "number", "data-label": "runs" }, String(task.runs)),
    el("td", { class: "when" }, time(task.created)));
}
