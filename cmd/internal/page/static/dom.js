// Small pieces that all views are made of. Text gets into the page as text nodes and attributes, never as markup.

// el makes an element: properties are attributes, but for class, on* (listeners) and those that are null or false.
export function el(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// visible shows what a name could hide: control characters, and those that turn the direction of the text around it.
export function visible(text) {
  return String(text).replace(/[\p{Cc}\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu,
    (character) => "\\u" + character.codePointAt(0).toString(16).padStart(4, "0"));
}

// name is text from outside, on one line, that keeps its direction to itself.
export function name(text, properties) {
  return el("bdi", properties, visible(text));
}

// link leads to another place of the web, or is plain text where it must not.
export function link(url, text, properties) {
  let to = null;
  try {
    to = url.link ? new URL(url.text) : null;
  } catch {
    // It is no URL: it stays text.
  }
  if (!to || !["http:", "https:"].includes(to.protocol) || to.origin === location.origin) {
    return name(text, { ...properties, title: visible(url.text) });
  }
  return el("a", { ...properties, href: to.href, target: "_blank", rel: "noopener noreferrer" }, name(text));
}

const units = ["B", "KiB", "MiB", "GiB", "TiB"];

export function size(bytes) {
  if (bytes < 0) return "";
  let unit = 0;
  for (; bytes >= 1024 && unit < units.length - 1; unit++) bytes /= 1024;
  return `${unit === 0 ? bytes : bytes.toFixed(1)} ${units[unit]}`;
}

export function duration(milliseconds) {
  if (milliseconds < 0) return "";
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  const seconds = Math.floor(milliseconds / 1000);
  if (seconds < 60) return `${(milliseconds / 1000).toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const calendar = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

// time shows a moment in the reader's own time: the day too, unless it is today.
export function time(moment) {
  if (!moment) return "";
  const at = new Date(moment);
  const today = at.toDateString() === new Date().toDateString();
  return el("time", { datetime: moment, title: moment }, today ? clock.format(at) : `${calendar.format(at)}, ${clock.format(at)}`);
}

export const states = {
  pending: "Pending", running: "Running", finishing: "Finishing", success: "Succeeded", failure: "Task failed",
  exception: "Infrastructure failed", lost: "Worker lost", superseded: "Superseded", unresolved: "Never resolved",
};

export const explanations = {
  pending: "waits for a worker",
  running: "a worker has it",
  finishing: "the result is stored, and not reported yet",
  success: "completed: the task succeeded",
  failure: "completed: the task itself failed",
  exception: "the infrastructure could not run it to completion",
  lost: "the worker was lost, or lost its claim",
  superseded: "its result is stored, but another run counts",
  unresolved: "the deadline has passed, and nobody resolved it",
};

export function badge(state) {
  return el("span", { class: `badge ${state}`, title: explanations[state] }, states[state] ?? visible(state));
}

// show replaces the children of a region, if what they show has changed.
const shown = new WeakMap();
export function show(region, data, build) {
  const key = JSON.stringify(data);
  if (shown.get(region) === key) return;
  shown.set(region, key);
  const children = build();
  region.replaceChildren(...[children].flat().filter(Boolean));
}

// setTitle has the tab tell how things stand.
export function setTitle(state, text) {
  document.title = [states[state], visible(text), "upload-agent"].filter(Boolean).join(" · ");
}
