// LogView shows a log in a page: colours, line numbers to link to, search, and following while it grows.
//
//   const view = new LogView(div);     // builds everything inside div; log.css goes with it
//   view.append(bytes); view.end('complete');
//
// Only the lines that can be seen are in the DOM. The list has a height that browsers can bear, at most TALLEST: of a
// longer log, small steps of the scroll bar are exact and large ones proportional. The model (model.js) keeps the
// newest part of a very long log. Work is done in slices of a few milliseconds, so the page stays responsive.

import { Find } from './find.js';
import { Layout } from './layout.js';
import { Log } from './model.js';
import { count, element, fillRow, makeRow } from './rows.js';
import { Tools } from './tools.js';

const SLICE = 8; // milliseconds of work at once
const HIDDEN_SLICE = 200; // while nobody looks; browsers slow timers down then
const PIECE = 1 << 16; // bytes parsed between two looks at the clock
const TALLEST = 8e6; // pixels
const AROUND = 6; // rows beyond the edges
const NARROW = '(max-width: 40rem)'; // where lines are wrapped from the start

export class LogView {
  // onSelect(first, last) is called when the reader selects lines, with nulls when none are selected any more. Without it,
  // the selection is kept in step with location.hash.
  constructor(parent, { follow = true, onSelect, keep } = {}) {
    this.log = new Log({ keep });
    this.layout = new Layout(this.log);
    this.layout.wrap = matchMedia(NARROW).matches;
    this.onSelect = onSelect;
    this.following = follow;
    this.queue = []; // bytes, and functions, that wait for their turn
    this.find = null;
    this.hit = null; // {line, from}: the hit that is looked at
    this.selected = null; // [first, last]
    this.wanted = 0; // a line to go to as soon as it exists
    this.seen = 0; // lines when following was paused
    this.rows = new Map(); // from a line's number to {row, content, ...}
    this.scrolled = 0; // scrollTop as last seen
    this.offset = 0; // pixels of the log above what scrollTop says
    this.stops = new AbortController();
    this.build(parent);
    if (!onSelect) this.readHash();
  }

  get lines() { return this.log.lines; }

  // append takes the next bytes of the log, cut anywhere. They must not be changed afterwards.
  append(bytes) {
    for (let at = 0; at < bytes.length; at += PIECE) this.queue.push(bytes.subarray(at, at + PIECE));
    this.work();
  }

  // end says that nothing more comes, and perhaps why.
  end(note = '') {
    this.queue.push(() => {
      this.log.end();
      this.tools.note(note);
    });
    this.work();
  }

  clear() {
    this.queue = [];
    this.log.clear();
    this.layout.clear();
    this.wanted = 0;
    this.seen = 0;
    this.hit = null;
    this.selected = null;
    this.offset = 0;
    this.dropRows();
    this.tools.note('');
    if (this.find) this.search(this.tools.needle, this.tools.matchCase);
    this.schedule();
  }

  // goto selects a line and shows it, as soon as it is there.
  goto(line) { this.show(line, line); }

  // remove lets go of everything outside of the element.
  remove() {
    this.stops.abort();
    this.resizes.disconnect();
    this.queue = [];
    this.find = null;
    cancelAnimationFrame(this.frame);
  }

  build(parent) {
    const signal = this.stops.signal;
    parent.classList.add('log-view');
    this.tools = new Tools(this);
    this.body = element('div', 'log-body');
    this.body.setAttribute('role', 'log');
    this.body.setAttribute('aria-live', 'off'); // thousands of lines a second are not to be read out
    this.body.setAttribute('aria-label', 'Log');
    this.body.tabIndex = 0;
    this.space = element('div', 'log-space');
    this.list = element('div', 'log-list');
    this.ruler = element('span', 'log-ruler', '0'.repeat(100));
    this.space.append(this.list, this.ruler);
    this.body.append(this.space);
    parent.replaceChildren(this.tools.bar, this.body, this.tools.foot);
    this.body.addEventListener('scroll', () => this.onScroll(), { signal, passive: true });
    this.list.addEventListener('click', (event) => this.onClick(event), { signal });
    this.body.addEventListener('copy', (event) => this.onCopy(event), { signal });
    document.addEventListener('keydown', (event) => this.tools.onKey(event), { signal, capture: true });
    if (!this.onSelect) window.addEventListener('hashchange', () => this.readHash(), { signal });
    this.resizes = new ResizeObserver(() => this.measure());
    this.resizes.observe(this.body);
    this.measure();
  }

  // work takes from the queue for one slice, once in a task; what is left waits for the next.
  work() {
    if (this.working) return;
    const deadline = performance.now() + (document.hidden ? HIDDEN_SLICE : SLICE);
    while (this.queue.length > 0 && performance.now() < deadline) {
      const next = this.queue.shift();
      if (typeof next === 'function') next();
      else this.log.write(next);
    }
    this.schedule();
    this.working = true;
    setTimeout(() => {
      this.working = false;
      if (this.queue.length > 0) this.work();
    });
  }

  schedule() { this.frame ??= requestAnimationFrame(() => { this.frame = null; this.render(); }); }

  measure() {
    const box = this.ruler.getBoundingClientRect();
    this.rowHeight = box.height || 20;
    this.charWidth = box.width / 100 || 8;
    this.digits = 0;
    this.fit();
    this.render();
  }

  // fit makes room for the line numbers, and counts the columns that are left for text.
  fit() {
    const digits = Math.max(3, String(this.lines).length);
    if (digits === this.digits) return;
    this.digits = digits;
    this.body.style.setProperty('--log-digits', digits);
    const columns = Math.max(10, Math.floor((this.body.clientWidth - this.charWidth * (digits + 3)) / this.charWidth));
    if (columns === this.layout.columns) return;
    this.layout.columns = columns;
    this.layout.forget();
  }

  render() {
    this.fit();
    const { body, layout, log, rowHeight } = this;
    const view = body.clientHeight;
    const height = layout.total() * rowHeight;
    const tall = Math.min(height, TALLEST);
    this.space.style.height = tall + 'px';
    const widest = layout.wrap ? 0 : Math.min(log.widest, layout.limit(0)) + this.digits + 4;
    this.space.style.minWidth = `max(100%, ${widest * this.charWidth}px)`;
    if (this.wanted > 0 && (this.wanted <= this.lines || log.ended)) {
      this.place(layout.top(this.within(this.wanted)) * rowHeight - view / 3);
      this.wanted = 0;
    } else if (this.following) {
      this.place(height);
    }
    this.scrolled = body.scrollTop;
    this.offset = Math.max(0, Math.min(this.offset, height - tall));
    const top = this.scrolled + this.offset;
    let [line, row] = layout.at(Math.max(0, Math.floor(top / rowHeight) - AROUND));
    this.list.style.transform = `translateY(${row * rowHeight - this.offset}px)`;
    const shown = new Map();
    for (; line <= this.lines && row * rowHeight < top + view + AROUND * rowHeight; line++) {
      shown.set(line, this.rows.get(line) ?? { row: makeRow(line) });
      row += layout.rows(line);
    }
    this.update(shown);
    this.tools.update();
    if (this.find && !this.find.done) this.scan();
  }

  // update brings the DOM in line with the rows to be shown. Nodes that stay are not touched, so a selection of text lasts.
  update(shown) {
    for (const [line, { row }] of this.rows) {
      if (shown.has(line)) continue;
      if (row.contains(document.activeElement)) this.body.focus({ preventScroll: true }); // the keys must go on working
      row.remove();
    }
    let before = null;
    for (const [line, entry] of shown) {
      const limit = this.layout.limit(line);
      const current = this.hit?.line === line ? this.hit.from : -1;
      const growing = line > this.log.complete;
      if (entry.find !== this.find || entry.limit !== limit || entry.current !== current || entry.growing || growing) {
        const content = this.log.read(line, limit);
        Object.assign(entry, { find: this.find, limit, current, growing });
        fillRow(entry.row, content, this.find ? this.find.hits(content.text) : [], current);
      }
      entry.row.classList.toggle('log-wrapped', this.layout.wraps(line));
      entry.row.classList.toggle('log-selected', !!this.selected && line >= this.selected[0] && line <= this.selected[1]);
      const place = before ? before.nextSibling : this.list.firstChild;
      if (place !== entry.row) this.list.insertBefore(entry.row, place);
      before = entry.row;
    }
    this.rows = shown;
  }

  dropRows() {
    this.rows = new Map();
    this.list.replaceChildren();
  }

  within(line) { return Math.max(this.log.first, Math.min(line, this.lines)); }

  // place scrolls so that this many pixels of the log are above.
  place(top) {
    const view = this.body.clientHeight;
    const height = this.layout.total() * this.rowHeight;
    const tall = Math.min(height, TALLEST);
    top = Math.max(0, Math.min(top, height - view));
    const scroll = height > tall ? top * (tall - view) / (height - view) : top;
    this.body.scrollTop = scroll;
    this.offset = height > tall ? top - this.body.scrollTop : 0;
  }

  onScroll() {
    const { body } = this;
    const by = body.scrollTop - this.scrolled;
    if (by === 0) return; // sideways, or our own doing
    const view = body.clientHeight;
    const height = this.layout.total() * this.rowHeight;
    const tall = Math.min(height, TALLEST);
    if (height > tall) {
      const exact = body.scrollTop / (tall - view) * (height - view);
      const edge = body.scrollTop < view || body.scrollTop > tall - 2 * view;
      if (edge && Math.abs(by) < 2 * view) this.place(body.scrollTop + this.offset);
      else if (Math.abs(by) >= 2 * view) this.offset = exact - body.scrollTop;
    }
    this.scrolled = body.scrollTop;
    const bottom = body.scrollTop + this.offset + view >= height - 2;
    if (by < 0 && !bottom) this.follow(false);
    if (by > 0 && bottom) this.follow(true);
    this.schedule();
  }

  follow(on) {
    if (on !== this.following) this.seen = this.lines;
    this.following = on;
    if (on) this.wanted = 0;
    this.schedule();
  }

  setWrap(on) {
    const [line] = this.layout.at(Math.floor((this.scrolled + this.offset) / this.rowHeight));
    this.layout.wrap = on;
    this.layout.forget();
    this.place(this.layout.top(this.within(line)) * this.rowHeight);
    this.schedule();
  }

  // top shows the first line that is kept.
  top() {
    this.follow(false);
    this.place(0);
    this.schedule();
  }

  search(needle, matchCase) {
    this.find = needle === '' ? null : new Find(this.log, needle, matchCase);
    this.hit = null;
    this.step = this.find ? 1 : 0; // wants a hit
    this.schedule();
  }

  // seek goes to the next hit (1) or the previous one (-1).
  seek(step) {
    if (!this.find) return;
    this.step = step;
    this.jump();
  }

  scan() {
    if (this.scanning) return;
    this.scanning = true;
    setTimeout(() => {
      this.scanning = false;
      if (!this.find) return;
      this.find.scan(performance.now() + SLICE);
      this.jump();
      if (!this.find.done) this.scan();
    });
  }

  // jump goes where seek wanted to, if the hit is found already; the search goes round at the ends of the log.
  jump() {
    this.schedule();
    if (!this.step) return;
    const here = this.hit ?? { line: this.layout.at(Math.floor((this.scrolled + this.offset) / this.rowHeight))[0], from: -1 };
    let hit = this.step > 0 ? this.find.after(here.line, here.from) : this.find.before(here.line, here.from);
    if (!hit && !this.find.done) return;
    hit ??= this.step > 0 ? this.find.after(0, 0) : this.find.before(Infinity, 0);
    this.step = 0;
    this.tools.say(hit);
    if (!hit) return;
    this.hit = hit;
    this.follow(false);
    while (hit.from >= this.layout.limit(hit.line)) this.layout.more(hit.line);
    const top = this.layout.top(hit.line) * this.rowHeight - this.scrolled - this.offset;
    if (top < 0 || top > this.body.clientHeight - 3 * this.rowHeight) this.wanted = hit.line;
  }

  onClick(event) {
    const number = event.target.closest('.log-number');
    if (number && event.button === 0 && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      const line = Number(number.dataset.line);
      const from = event.shiftKey && this.selected ? this.anchor : line;
      this.select(from, line);
    }
    if (event.target.closest('button.log-more')) {
      this.layout.more(Number(event.target.parentElement.firstChild.dataset.line));
      this.follow(false);
    }
  }

  // select marks lines, from where the reader began to where they ended, and tells the page.
  select(from, to) {
    this.anchor = from;
    this.selected = from === null ? null : [Math.min(from, to), Math.max(from, to)];
    if (this.selected) this.follow(false);
    this.schedule();
    if (this.onSelect) return this.onSelect(...(this.selected ?? [null, null]));
    const hash = !this.selected ? '' : '#L' + this.selected[0] + (from === to ? '' : '-L' + this.selected[1]);
    if (hash !== location.hash) history.replaceState(history.state, '', hash || location.pathname + location.search);
  }

  show(from, to) {
    this.select(from, to);
    this.wanted = Math.min(from, to);
  }

  readHash() {
    const match = /^#L([1-9]\d{0,14})(?:-L([1-9]\d{0,14}))?$/.exec(location.hash);
    if (match) this.show(Number(match[1]), Number(match[2] ?? match[1]));
  }

  // onCopy gives the plain text of what is selected, a line for a line, without numbers and buttons; or else the selected lines.
  onCopy(event) {
    const selection = getSelection();
    const texts = [];
    if (selection.isCollapsed) {
      if (!this.selected || event.target.closest('input')) return;
      for (let line = this.within(this.selected[0]); line <= Math.min(this.selected[1], this.lines); line++) texts.push(this.log.read(line).text);
      event.clipboardData.setData('text/plain', texts.join('\n'));
      return event.preventDefault();
    }
    const range = selection.getRangeAt(0);
    for (const { row } of this.rows.values()) {
      const text = row.children[1];
      if (!range.intersectsNode(text)) continue;
      const part = document.createRange();
      part.selectNodeContents(text);
      if (text.contains(range.startContainer)) part.setStart(range.startContainer, range.startOffset);
      if (text.contains(range.endContainer)) part.setEnd(range.endContainer, range.endOffset);
      texts.push(part.toString());
    }
    event.clipboardData.setData('text/plain', texts.join('\n'));
    event.preventDefault();
  }
}
