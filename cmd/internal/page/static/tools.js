// The controls of a LogView: the bar above the log, the notes below it, and the keys.

import { count, element } from './rows.js';

export class Tools {
  constructor(view) {
    this.view = view;
    this.bar = element('div', 'log-tools');
    this.bar.setAttribute('role', 'group');
    this.bar.setAttribute('aria-label', 'Log tools');
    this.input = element('input', 'log-search');
    this.input.type = 'search';
    this.input.placeholder = 'Search';
    this.input.title = 'Search the log ( / )';
    this.input.setAttribute('aria-label', 'Search the log');
    this.input.spellcheck = false;
    this.input.autocomplete = 'off';
    this.case = this.button('Aa', 'Match case', () => {
      toggle(this.case, !this.matchCase);
      this.search();
    });
    this.previous = this.button('\u2191', 'Previous hit ( p )', () => view.seek(-1));
    this.next = this.button('\u2193', 'Next hit ( n )', () => view.seek(1));
    this.hits = element('span', 'log-hits');
    this.spoken = element('span', 'log-unseen');
    this.spoken.setAttribute('role', 'status');
    this.wrap = this.button('Wrap', 'Wrap long lines', () => view.setWrap(!view.layout.wrap));
    this.following = this.button('Follow', 'Follow the end of the log ( f )', () => view.follow(!view.following));
    this.lines = element('span', 'log-count');
    this.bar.append(this.input, this.case, this.previous, this.next, this.hits, this.spoken, element('span', 'log-gap'), this.lines, this.wrap, this.following);
    toggle(this.case, false);
    this.input.addEventListener('input', () => this.search());

    this.foot = element('div', 'log-foot');
    this.new = this.button('', 'Go to the end of the log', () => view.follow(true));
    this.new.className = 'log-new';
    this.ending = element('span', 'log-note');
    this.ending.setAttribute('role', 'status');
    this.cut = element('span', 'log-note');
    this.foot.append(this.cut, this.ending, this.new);
  }

  get needle() { return this.input.value; }
  get matchCase() { return this.case.getAttribute('aria-pressed') === 'true'; }

  search() { this.view.look(this.needle, this.matchCase); }

  // say tells a screen reader where the search has gone. The count that is seen changes too often for that.
  say(hit) { this.spoken.textContent = hit ? `${this.view.search.find.ordinal(hit)} of ${count(this.view.search.find.total, 'hit')}, line ${hit.line}` : 'No hits'; }

  note(text) { this.ending.textContent = text; }

  update() {
    const { log, lines, following, layout } = this.view;
    const { find } = this.view.search;
    text(this.lines, count(lines, 'line'));
    toggle(this.following, following);
    toggle(this.wrap, layout.wrap);
    const fresh = following ? 0 : lines - this.view.seen;
    this.new.hidden = fresh <= 0;
    text(this.new, count(fresh, 'new line') + ' \u2193');
    text(this.cut, log.first > 1 ? `${count(log.first - 1, 'older line')} not kept here: download the log to read them` : '');
    const total = find?.total ?? 0;
    text(this.hits, !find ? '' : this.ordinal() + count(total, 'hit') + (find.done ? '' : '\u2026'));
    this.previous.disabled = this.next.disabled = total === 0;
  }

  ordinal() {
    const { find, hit } = this.view.search;
    const { log } = this.view;
    if (!hit || hit.line < log.first) return '';
    if (this.counted?.hit !== hit || this.counted.first !== log.first) this.counted = { hit, first: log.first, text: find.ordinal(hit).toLocaleString('en') + ' of ' };
    return this.counted.text;
  }

  // onKey follows the keys, while the reader is in the log or nowhere in particular.
  onKey(event) {
    const { view, input } = this;
    const inside = view.body.parentElement.contains(event.target);
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || (!inside && event.target !== document.body)) return;
    if (event.target === input) {
      if (event.key === 'Enter') view.seek(event.shiftKey ? -1 : 1);
      else if (event.key === 'Escape') this.leave();
      else return;
    } else if (event.key === '/') {
      input.focus();
      input.select();
    } else if (event.key === 'f') view.follow(!view.following);
    else if (event.key === 'g' || event.key === 'Home') view.top();
    else if (event.key === 'G' || event.key === 'End') view.follow(true);
    else if (event.key === 'n') view.seek(1);
    else if (event.key === 'p' || event.key === 'N') view.seek(-1);
    else if (event.key === 'l') view.choose(view.search.hit?.line ?? view.anchor.line);
    else if (event.key === 'Escape') view.search.find ? this.leave() : view.choose();
    else return;
    event.preventDefault();
  }

  leave() {
    this.input.value = '';
    this.search();
    this.view.body.focus({ preventScroll: true });
  }

  button(label, title, click) {
    const made = element('button', 'log-button', label);
    made.type = 'button';
    made.title = title;
    made.setAttribute('aria-label', title.replace(/ \( . \)$/, ''));
    made.addEventListener('click', click);
    return made;
  }
}

function toggle(button, on) {
  if (button.getAttribute('aria-pressed') !== String(on)) button.setAttribute('aria-pressed', on);
}

// text changes only what is different, so that a screen reader is not told again.
function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}
