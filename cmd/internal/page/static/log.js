// LogView shows a log in a page: colours, line numbers to link to, search, and following while it grows.
//
//   const view = new LogView(div);     // builds everything inside div; log.css goes with it
//   view.append(bytes); view.end('complete');
//
// Only the lines that can be seen are in the DOM (rows.js, layout.js, scroll.js). Work is done in slices of a few
// milliseconds, so the page stays responsive. Of a very long log the newest part is kept (model.js). The keys / f g G n p
// l Esc Home End work while the focus is in the log, or nowhere in particular; the page sees them as defaultPrevented. (l
// chooses the line of the hit that is looked at, or else the line on top.)
// It does not fetch anything, and it offers no download: that is the page's.

import { Chosen, fromHash, selectedText } from './chosen.js';
import { Layout } from './layout.js';
import { Log } from './model.js';
import { element, Rows } from './rows.js';
import { Scroll } from './scroll.js';
import { Search } from './search.js';
import { Tools } from './tools.js';

const SLICE = 8; // milliseconds of work at once
const HIDDEN_SLICE = 200; // while nobody looks; browsers slow timers down then
const PIECE = 1 << 16; // bytes parsed between two looks at the clock
const AROUND = 6; // rows in the DOM beyond the edges
const NARROW = '(max-width: 40rem)'; // where lines are wrapped from the start

export class LogView {
  // follow: begin at the end. onSelect(first, last) is called when the reader chooses lines, with nulls when none are chosen any
  // more; without it, location.hash is kept in step. keep: bytes of memory for the log, 256 MiB unless said otherwise.
  constructor(parent, { follow = true, onSelect, keep } = {}) {
    this.log = new Log({ keep });
    this.layout = new Layout(this.log);
    this.layout.wrap = matchMedia(NARROW).matches;
    this.chosen = new Chosen(onSelect);
    this.search = new Search(this.log, { slice: SLICE, found: (hit) => this.showHit(hit), progress: () => this.schedule() });
    this.following = follow;
    this.queue = []; // bytes, and functions, that wait for their turn
    this.wanted = null; // {line, above}: a line to show as soon as it exists, and how much of the view is to be above it
    this.anchor = { line: 1, inset: 0 }; // what is at the top of the view
    this.seen = 0; // lines when following was paused
    this.stops = new AbortController();
    this.build(parent);
    if (!onSelect) this.readHash();
  }

  // lines is the number of lines so far, with the one that is being written.
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
    this.chosen.drop();
    this.wanted = null;
    this.seen = 0;
    this.rows.clear();
    this.tools.note('');
    this.tools.search();
    this.schedule();
  }

  // goto chooses a line and shows it, as soon as it is there.
  goto(line) { this.show(line); }

  // remove lets go of everything outside of the element.
  remove() {
    this.stops.abort();
    this.resizes.disconnect();
    this.queue = [];
    this.search.stop();
    cancelAnimationFrame(this.frame);
  }

  build(parent) {
    parent.classList.add('log-view');
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
    this.rows = new Rows(this.list);
    this.scroll = new Scroll(this.body, this.space);
    this.tools = new Tools(this);
    parent.replaceChildren(this.tools.bar, this.body, this.tools.foot);

    const signal = this.stops.signal;
    this.body.addEventListener('scroll', () => this.onScroll(), { signal, passive: true });
    this.list.addEventListener('click', (event) => this.onClick(event), { signal });
    this.body.addEventListener('copy', (event) => this.onCopy(event), { signal });
    document.addEventListener('keydown', (event) => this.tools.onKey(event), { signal, capture: true });
    if (!this.chosen.tell) window.addEventListener('hashchange', () => this.readHash(), { signal });
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

  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.render();
    });
  }

  measure() {
    const box = this.ruler.getBoundingClientRect();
    this.rowHeight = box.height || 20;
    this.charWidth = box.width / 100 || 8;
    this.digits = 0;
    this.render();
  }

  // fit makes room for the line numbers, and counts the columns that are left for text.
  fit() {
    const digits = Math.max(3, String(this.lines).length);
    if (digits === this.digits) return;
    this.digits = digits;
    this.body.style.setProperty('--log-digits', digits);
    const columns = Math.max(10, Math.floor(this.body.clientWidth / this.charWidth) - digits - 3);
    if (columns === this.layout.columns) return;
    this.body.style.setProperty('--log-columns', columns); // wrapped lines are as wide as the view, however wide the others are
    this.layout.columns = columns;
    if (this.layout.wrap || this.layout.limits.size > 0) this.layout.forget();
  }

  render() {
    this.fit();
    const { layout, log, scroll, rowHeight } = this;
    scroll.resize(layout.total() * rowHeight);
    const widest = layout.wrap ? 0 : Math.min(log.widest, layout.limit(0)) + this.digits + 4;
    this.space.style.minWidth = `max(100%, ${widest * this.charWidth}px)`;
    this.place();

    const { top, view } = scroll;
    const [anchor, anchorRow] = layout.at(Math.floor(top / rowHeight));
    this.anchor = { line: anchor, inset: top - anchorRow * rowHeight };
    const [from, first] = layout.at(Math.max(0, Math.floor(top / rowHeight) - AROUND));
    this.list.style.transform = `translateY(${first * rowHeight - scroll.offset}px)`;
    let to = from - 1;
    for (let row = first; to < this.lines && row * rowHeight < top + view + AROUND * rowHeight; row += layout.rows(to)) to++;
    this.rows.show(from, to, this);
    this.tools.update();
    this.search.scan();
  }

  // place scrolls to what is wanted, to the end, or to where the view has been before lines moved.
  place() {
    const { layout, log, scroll, rowHeight, wanted } = this;
    const moved = `${layout.version} ${log.first}`;
    const topOf = (line) => layout.top(Math.max(log.first, Math.min(line, this.lines))) * rowHeight;
    if (wanted && (wanted.line <= this.lines || log.ended)) {
      scroll.top = topOf(wanted.line) - scroll.view * wanted.above;
      this.wanted = null;
    } else if (this.following) {
      scroll.top = scroll.height;
    } else if (moved !== this.moved) {
      scroll.top = topOf(this.anchor.line) + (this.anchor.line >= log.first ? this.anchor.inset : 0);
    }
    this.moved = moved;
  }

  onScroll() {
    const by = this.scroll.moved();
    if (by === 0) return; // sideways, or our own doing
    this.wanted = null;
    if (by < 0 && !this.scroll.atEnd) this.follow(false);
    if (by > 0 && this.scroll.atEnd) this.follow(true);
    this.schedule();
  }

  follow(on) {
    if (on !== this.following) this.seen = this.lines;
    this.following = on;
    if (on) this.wanted = null;
    this.schedule();
  }

  // top shows the first line that is kept.
  top() {
    this.follow(false);
    this.wanted = { line: 1, above: 0 };
  }

  setWrap(on) {
    this.layout.wrap = on;
    this.layout.forget();
    this.schedule();
  }

  look(needle, matchCase) {
    this.search.start(needle, matchCase, this.anchor.line);
    this.schedule();
  }

  // seek goes to the next hit (1) or the previous one (-1).
  seek(step) {
    if (this.search.find) this.search.seek(step, this.anchor.line);
  }

  showHit(hit) {
    this.tools.say(hit);
    this.schedule();
    if (!hit) return;
    this.follow(false);
    while (hit.from >= this.layout.limit(hit.line)) this.layout.more(hit.line);
    const above = this.layout.top(hit.line) * this.rowHeight - this.scroll.top;
    if (above < 0 || above > this.scroll.view - 3 * this.rowHeight) this.wanted = { line: hit.line, above: 1 / 3 };
  }

  onClick(event) {
    const number = event.target.closest('.log-number');
    if (number && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      this.follow(false);
      if (event.shiftKey) this.chosen.extend(Number(number.dataset.line));
      else this.chosen.choose(Number(number.dataset.line));
    }
    const more = event.target.closest('button.log-more');
    if (more) {
      this.follow(false);
      this.layout.more(Number(more.parentElement.firstChild.dataset.line));
    }
  }

  // choose marks lines; without arguments, none.
  choose(from, to) {
    if (from) this.chosen.choose(from, to);
    else this.chosen.none();
    this.schedule();
  }

  show(from, to) {
    this.follow(false);
    this.choose(from, to);
    this.wanted = { line: this.chosen.first, above: 1 / 3 };
  }

  readHash() {
    const lines = fromHash(location.hash);
    if (lines) this.show(...lines);
  }

  // onCopy copies the selected text, or else the chosen lines.
  onCopy(event) {
    const selection = getSelection();
    let text;
    if (!selection.isCollapsed) {
      text = selectedText(selection.getRangeAt(0), this.rows.texts);
    } else if (this.chosen.any) {
      const lines = [];
      for (let line = Math.max(this.chosen.first, this.log.first); line <= Math.min(this.chosen.last, this.lines); line++) lines.push(this.log.read(line).text);
      text = lines.join('\n');
    } else {
      return;
    }
    event.clipboardData.setData('text/plain', text);
    event.preventDefault();
  }
}
