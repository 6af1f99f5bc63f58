// The page: which view it is, what keeps it up to date, and the keyboard. The address says what is shown: / is the list of tasks,
// /tasks/ID the latest run of a task, /tasks/ID/runs/N another one. Links are plain links.
import { el } from "./dom.js";
import { taskList } from "./list.js";
import { taskPage } from "./task.js";

const main = document.getElementById("main");
const connection = document.getElementById("connection");
const help = document.getElementById("help");

function route() {
  const [, id, run] = /^\/tasks\/([^/]+)(?:\/runs\/(\d+))?$/.exec(location.pathname) ?? [];
  if (!id) return taskList(main);
  document.getElementById("crumbs").append(el("li", {}, el("a", { href: "/" }, "Tasks")));
  return taskPage(main, id, run === undefined ? null : Number(run));
}

// A view has: url, what to ask for; update(data), called with each answer; refused(status, why), called instead where the answer
// is an error; pause(), how long to wait until the next time, in milliseconds.
const view = route();

async function look() {
  let answer;
  try {
    const response = await fetch(view.url, { headers: { accept: "application/json" }, cache: "no-store" });
    answer = { status: response.status, data: await response.json() };
  } catch {
    connection.textContent = "The inspector does not answer. It may have been stopped; trying again…";
    connection.className = "problem";
    return 2000;
  }
  connection.textContent = "";
  connection.className = "";
  main.removeAttribute("aria-busy");
  if (answer.status !== 200) {
    view.refused(answer.status, answer.data.error);
    return 3000;
  }
  view.update(answer.data);
  return view.pause();
}

const awake = () => new Promise((resolve) => {
  if (!document.hidden) resolve();
  else document.addEventListener("visibilitychange", resolve, { once: true });
});

async function keepLooking() {
  for (;;) {
    await awake();
    const pause = await look();
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

document.getElementById("help-open").addEventListener("click", () => help.showModal());

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || typing || help.open) return;
  const action = { "?": () => help.showModal(), t: () => location.assign("/"), ...view.keys }[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

keepLooking();
