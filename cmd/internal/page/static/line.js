// The line that is being written: the screen of a terminal with one line, without a right margin.
//
// Most lines only grow, and are kept as one text with the places where its style changes. A line that is rewritten (a
// progress bar) is kept as cells, one for each column, until it ends. Only short lines can be rewritten: on one of more
// than EDIT_LIMIT characters a carriage return shows, and cursor movements do nothing. So no sequence costs more than
// EDIT_LIMIT steps. Of a line of more than LINE_LIMIT characters the rest is counted, and not kept.

import { Style } from './ansi.js';
import { charWidth, TAB } from './width.js';

export const LINE_LIMIT = 1 << 20;
const EDIT_LIMIT = 1024;
const MOVE_LIMIT = 512; // columns; how far right of the text the cursor may go
const MARKS_LIMIT = 32; // combining characters of one cell, in UTF-16 units

export class Line {
  // ended is called at each line feed, and clears the line.
  constructor(ended) {
    this.lineFeed = ended;
    this.style = new Style();
    this.clear();
  }

  // clear empties the line; the style stays, as in a terminal.
  clear() {
    this.text = '';
    this.marks = []; // [offset, fg and flags, bg, offset, ...]: the style from the offset on; default before the first
    this.lost = 0; // characters that were not kept
    this.returned = false; // a carriage return came last: the next text overwrites
    this.cells = null; // or {chars, fg, bg}; chars has '' for the second column of a wide character
    this.cursor = 0; // with cells only
  }

  get empty() { return this.cells ? this.cells.chars.length === 0 : this.text === ''; }
  get packed() { return (this.style.fg | this.style.flags << 25) >>> 0; }

  // read gives the first characters of the line as {text, marks, size, lost}; size is the length of all that is kept.
  read(limit) {
    const { text, marks } = this.cells ? flatten(this.cells) : this;
    return { text: head(text, limit), marks, size: text.length, lost: this.lost };
  }

  put(text) {
    if (this.returned && this.text !== '') {
      if (this.text.length > EDIT_LIMIT) text = '\u240d' + text;
      else this.edit();
    }
    this.returned = false;
    if (this.cells) text = this.overwrite(text);
    if (text !== '') this.extend(text);
  }

  carriageReturn() {
    this.returned = true;
    this.cursor = 0;
  }

  move(by) {
    if (this.edit()) this.column(this.cursor + by);
  }

  column(to) {
    if (this.edit()) this.cursor = Math.max(0, Math.min(to, Math.max(MOVE_LIMIT, this.cells.chars.length)));
  }

  // erase: 0 from the cursor to the end, 1 from the start to the cursor, 2 the whole line.
  erase(mode) {
    if (mode === 0 && !this.cells) { // the usual cases: at the end there is nothing to erase, at the start everything goes
      if (this.returned) this.clear();
      return;
    }
    if (mode > 2 || !this.edit()) return;
    const { chars, fg, bg } = this.cells;
    const from = mode === 0 ? this.cursor : chars.length;
    if (mode === 2) { // the programs that erase the line begin it again, one way or another
      this.cut(0);
      this.cursor = 0;
    }
    if (mode === 0 && from < chars.length) {
      this.split(from);
      this.cut(from);
    }
    if (mode === 1) {
      const to = Math.min(this.cursor + 1, chars.length);
      this.split(to);
      chars.fill(' ', 0, to);
      fg.fill(0, 0, to);
      bg.fill(0, 0, to);
    }
  }

  // extend appends to a text that is not rewritten.
  extend(text) {
    const room = this.lost > 0 ? 0 : LINE_LIMIT - this.text.length;
    if (text.length > room) {
      const kept = head(text, room);
      this.lost += text.length - kept.length;
      text = kept;
      if (text === '') return;
    }
    mark(this.marks, this.text.length, this.packed, this.style.bg);
    this.text += text;
  }

  // edit makes cells of the line, if it is short enough.
  edit() {
    if (this.cells) return true;
    if (this.text.length > EDIT_LIMIT) return false;
    const cells = { chars: [], fg: [], bg: [] };
    let next = 0, fg = 0, bg = 0, offset = 0;
    for (const char of this.text) {
      while (next < this.marks.length && this.marks[next] <= offset) {
        [fg, bg] = [this.marks[next + 1], this.marks[next + 2]];
        next += 3;
      }
      push(cells, char, fg, bg);
      offset += char.length;
    }
    this.cells = cells;
    this.cursor = this.returned ? 0 : cells.chars.length;
    this.returned = false;
    this.text = '';
    this.marks = [];
    return true;
  }

  // overwrite puts text at the cursor, and returns what is left when the line has become too long for cells.
  overwrite(text) {
    const { chars } = this.cells;
    let offset = 0;
    for (const char of text) {
      if (this.cursor === chars.length && chars.length > EDIT_LIMIT) {
        const flat = flatten(this.cells);
        this.cells = null;
        this.text = flat.text;
        this.marks = flat.marks;
        return text.slice(offset);
      }
      offset += char.length;
      while (chars.length < this.cursor) push(this.cells, ' ', 0, 0);
      if (this.cursor === chars.length) {
        push(this.cells, char, this.packed, this.style.bg);
        this.cursor = chars.length;
      } else {
        this.replace(char);
      }
    }
    return '';
  }

  // replace puts one character over others.
  replace(char) {
    const { chars, fg, bg } = this.cells;
    if (char === '\t') { // moves over what is there
      this.cursor += TAB - this.cursor % TAB;
      return;
    }
    const width = charWidth(char);
    if (width === 0) {
      join(chars, this.cursor, char);
      return;
    }
    this.split(this.cursor);
    this.split(this.cursor + width);
    for (let i = 0; i < width; i++, this.cursor++) {
      chars[this.cursor] = i === 0 ? char : '';
      fg[this.cursor] = this.packed;
      bg[this.cursor] = this.style.bg;
    }
  }

  // split makes blanks of the wide character, if any, that lies across the border before column at.
  split(at) {
    const { chars } = this.cells;
    if (at >= chars.length || chars[at] !== '') return;
    let start = at;
    while (start > 0 && chars[start] === '') start--;
    for (let i = start; i < chars.length && (i === start || chars[i] === ''); i++) chars[i] = ' ';
  }

  cut(length) {
    for (const column of Object.values(this.cells)) column.length = length;
  }
}

// head gives the first characters of a text, and never half of one.
export function head(text, limit) {
  const half = limit > 0 && limit < text.length && (text.charCodeAt(limit - 1) & 0xfc00) === 0xd800;
  return text.slice(0, half ? limit - 1 : limit);
}

// push appends a character and the columns it takes to cells.
function push(cells, char, fg, bg) {
  const at = cells.chars.length;
  const width = char === '\t' ? TAB - at % TAB : charWidth(char);
  if (width === 0 && at > 0) {
    join(cells.chars, at, char);
    return;
  }
  for (let i = 0; i < Math.max(1, width); i++) {
    cells.chars.push(i === 0 ? char : '');
    cells.fg.push(fg);
    cells.bg.push(bg);
  }
}

// join adds a combining character to the cell before column at.
function join(chars, at, char) {
  let before = at - 1;
  while (before > 0 && chars[before] === '') before--;
  if (before >= 0 && chars[before].length < MARKS_LIMIT) chars[before] += char;
}

// mark notes that the style is such from the offset on, unless it is already.
function mark(marks, offset, fg, bg) {
  const n = marks.length;
  const same = n === 0 ? fg === 0 && bg === 0 : marks[n - 2] === fg && marks[n - 1] === bg;
  if (!same) marks.push(offset, fg, bg);
}

function flatten({ chars, fg, bg }) {
  const marks = [];
  let offset = 0;
  for (let i = 0; i < chars.length; i++) {
    if (chars[i] !== '') mark(marks, offset, fg[i], bg[i]);
    offset += chars[i].length;
  }
  return { text: chars.join(''), marks };
}
