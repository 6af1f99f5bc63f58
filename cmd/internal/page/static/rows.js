// Lines of a log as DOM nodes: each with its number, its text with colours and hits, and a button if it is cut.
//
// What the log says becomes text nodes and nothing else. Colours go through CSSOM, which a Content-Security-Policy
// without inline styles allows.

import { spans } from './model.js';
import { BOLD, DIM, INVERSE, ITALIC, STRIKE, TRUE_COLOUR, UNDERLINE } from './ansi.js';

const PIECES = 600; // elements of one line; the rest of it has no colours
const CLASSES = [[BOLD, 'log-bold'], [DIM, 'log-dim'], [ITALIC, 'log-italic'], [UNDERLINE, 'log-underline'], [STRIKE, 'log-strike']];

// Rows is the part of a log that is in the DOM.
export class Rows {
  constructor(list) {
    this.list = list;
    this.shown = new Map(); // from a line's number to {row, and what it was made from}
  }

  clear() {
    this.shown = new Map();
    this.list.replaceChildren();
  }

  get texts() { return [...this.shown.values()].map(({ row }) => row.children[1]); }

  // show puts lines into the DOM, and takes the others out. Nodes that stay are not touched, so a selection of text lasts.
  show(from, to, { log, layout, search, chosen }) {
    for (const [line, { row }] of this.shown) {
      if (line >= from && line <= to) continue;
      if (row.contains(document.activeElement)) this.list.closest('[tabindex]').focus({ preventScroll: true }); // for the keys
      row.remove();
      this.shown.delete(line);
    }
    const shown = new Map();
    let place = this.list.firstChild;
    for (let line = from; line <= to; line++) {
      const entry = this.shown.get(line) ?? { row: makeRow(line) };
      const current = search.hit?.line === line ? search.hit.from : -1;
      const state = [layout.limit(line), search.find, current, line > log.complete ? {} : null]; // {}: it may still change
      if (!entry.state || state.some((part, i) => part !== entry.state[i])) {
        const content = log.read(line, state[0]);
        fillRow(entry.row, content, search.find ? search.find.hits(content.text) : [], current);
        entry.state = state;
      }
      entry.row.classList.toggle('log-wrapped', layout.wraps(line));
      entry.row.classList.toggle('log-selected', chosen.has(line));
      if (entry.row === place) place = place.nextSibling;
      else this.list.insertBefore(entry.row, place);
      shown.set(line, entry);
    }
    this.shown = shown;
  }
}

function makeRow(line) {
  const row = element('div', 'log-line');
  const number = element('a', 'log-number', String(line));
  number.href = '#L' + line;
  number.tabIndex = -1;
  number.dataset.line = line;
  row.append(number, element('span', 'log-text'));
  return row;
}

// fillRow shows a line's content (of Log.read) and marks the hits: [from, to, from, ...]; current is the offset of the one
// that is looked at, or -1.
function fillRow(row, content, hits, current) {
  const pieces = [];
  let at = 0, hit = 0, rest = '';
  spans(content, (text, fg, bg) => {
    const end = at + text.length;
    let from = at;
    while (from < end) {
      while (hit < hits.length && hits[hit + 1] <= from) hit += 2;
      const inside = hit < hits.length && hits[hit] <= from;
      const to = Math.min(end, inside ? hits[hit + 1] : hit < hits.length ? hits[hit] : end);
      const part = text.slice(from - at, to - at);
      if (pieces.length >= PIECES) rest += part;
      else pieces.push(piece(part, fg, bg, inside, inside && hits[hit] === current));
      from = to;
    }
    at = end;
  });
  if (rest !== '') pieces.push(document.createTextNode(rest));
  const text = row.children[1];
  text.replaceChildren(...pieces);
  row.children[2]?.remove();
  const hidden = content.size - content.text.length;
  if (hidden > 0) {
    const more = element('button', 'log-more', `\u2026 ${count(hidden, 'more character')} \u2013 show more`);
    more.type = 'button';
    row.append(more);
  } else if (content.lost > 0) {
    row.append(element('span', 'log-more', `\u2026 ${count(content.lost, 'more character')}, only in the downloaded log`));
  }
}

export function count(n, noun) {
  return `${n.toLocaleString('en')} ${noun}${n === 1 ? '' : 's'}`;
}

export function element(name, className, text = '') {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function piece(text, packed, bg, hit, current) {
  if (packed === 0 && bg === 0 && !hit) return document.createTextNode(text);
  const made = element(hit ? 'mark' : 'span', '', text);
  const flags = packed >>> 25;
  for (const [flag, name] of CLASSES) if (flags & flag) made.classList.add(name);
  if (hit) made.classList.add(current ? 'log-current' : 'log-hit');
  else colour(made, packed & (1 << 25) - 1, bg, flags & INVERSE);
  return made;
}

// colour sets the colours. Those on the page's own background come from the style sheet, or are bent by it until they can be
// read; on a background of the program's choice they are what it asked for, unless nobody could read it.
function colour(made, fg, bg, inverse) {
  if (inverse) [fg, bg] = [bg, fg];
  if (bg === 0 && inverse) {
    made.classList.add('log-inverse');
  } else if (bg === 0 && fg > 0 && fg <= 16) {
    made.style.color = `var(--log-ansi-${fg - 1})`;
  } else if (bg === 0 && fg > 0) {
    made.classList.add('log-bent');
    made.style.setProperty('--log-colour', hex(rgb(fg)));
  } else if (bg > 0) {
    const back = rgb(bg);
    let front = fg > 0 ? rgb(fg) : -1;
    if (front < 0 || contrast(front, back) < 4.5) front = contrast(0xffffff, back) >= contrast(0, back) ? 0xffffff : 0;
    made.classList.add('log-back');
    made.style.color = hex(front);
    made.style.backgroundColor = hex(back);
  }
}

const PALETTE = [
  0x1e1e1e, 0xc91b00, 0x00a33f, 0xb58900, 0x2563c9, 0xa626a4, 0x0997b3, 0xc7c7c7,
  0x686868, 0xff6e67, 0x5ffa68, 0xfffc67, 0x6871ff, 0xff77ff, 0x60fdff, 0xffffff,
];

// rgb is a colour that is not the default one as 0xRRGGBB.
function rgb(colour) {
  if (colour >= TRUE_COLOUR) return colour - TRUE_COLOUR;
  const n = colour - 1;
  if (n < 16) return PALETTE[n];
  if (n >= 232) return (8 + 10 * (n - 232)) * 0x010101;
  const level = (digit) => digit === 0 ? 0 : 55 + 40 * digit;
  const cube = n - 16;
  return level(Math.floor(cube / 36)) << 16 | level(Math.floor(cube / 6) % 6) << 8 | level(cube % 6);
}

function hex(rgb) { return '#' + rgb.toString(16).padStart(6, '0'); }

// contrast is the ratio that WCAG defines, from 1 to 21.
function contrast(a, b) {
  const [x, y] = [luminance(a), luminance(b)];
  return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
}

function luminance(rgb) {
  const linear = (byte) => byte <= 10 ? byte / 3294.6 : ((byte / 255 + 0.055) / 1.055) ** 2.4;
  return 0.2126 * linear(rgb >> 16) + 0.7152 * linear(rgb >> 8 & 255) + 0.0722 * linear(rgb & 255);
}
