// Where each line of a log is, in rows of equal height: which line is at a row, and the other way round, without asking
// the DOM. Long lines are cut; a cut line has one row more, for the button that shows more of it, or the note that no
// more is kept. With `wrap`, lines take as many rows as their columns need; a line of which more was asked for is always
// wrapped.

import { LINE_LIMIT } from './line.js';
import { rows, TAB } from './width.js';

const SHOWN = 4096; // characters of a line that are shown unless more is asked for

export class Layout {
  constructor(log) {
    this.log = log;
    this.wrap = false;
    this.columns = 0; // of a row
    this.clear();
  }

  clear() {
    this.limits = new Map(); // from a line's number to how many characters of it are shown
    this.forget();
  }

  // forget drops what was computed, after a change of wrap or columns.
  forget() {
    this.known = new WeakMap(); // from a block to {lines, rows}: the rows of its first lines
    this.version = (this.version ?? 0) + 1; // changes when lines that were there before are elsewhere
  }

  limit(line) { return this.limits.get(line) ?? SHOWN; }

  // more shows more of a line.
  more(line) {
    this.limits.set(line, 4 * this.limit(line));
    this.known.delete(this.log.blockOf(line));
    this.version++;
  }

  rows(line) {
    const size = this.log.size(line);
    const limit = this.limit(line);
    const cut = size > limit || (size >= LINE_LIMIT - 1 && this.log.read(line, 0).lost > 0) ? 1 : 0;
    if (!this.wraps(line)) return 1 + cut;
    const shown = Math.min(size, limit);
    if (shown <= this.columns / TAB) return 1 + cut; // even if all of it were tabulators
    const { text } = this.log.read(line, shown);
    return rows(text, this.columns) + cut;
  }

  wraps(line) { return this.wrap || this.limits.has(line); }

  blockRows(block) {
    let known = this.known.get(block);
    if (!known) this.known.set(block, known = { lines: 0, rows: 0 });
    if (known.lines === block.count) return known.rows;
    const plain = block.longest <= (this.wrap ? this.columns : SHOWN) && (!this.wrap || (!block.texts && block.simple));
    if (plain && known.lines === 0 && !block.texts) {
      known.rows = block.count;
      known.lines = block.count;
      for (const line of this.limits.keys()) if (this.log.blockOf(line) === block) known.rows += this.rows(line) - 1;
    }
    for (; known.lines < block.count; known.lines++) known.rows += this.rows(block.first + known.lines);
    return known.rows;
  }

  // total is the number of all rows.
  total() {
    let rows = 0;
    for (const block of this.log.blocks) rows += this.blockRows(block);
    return rows + (this.log.lines > this.log.complete ? this.rows(this.log.lines) : 0);
  }

  // top is the first row of a line.
  top(line) {
    let rows = 0;
    for (const block of this.log.blocks) {
      if (line < block.first + block.count) {
        for (let before = block.first; before < line; before++) rows += this.rows(before);
        return rows;
      }
      rows += this.blockRows(block);
    }
    return rows;
  }

  // at is the line that has a row, and the first row of that line: [line, row]. Past the end it is the last line.
  at(wanted) {
    let row = 0;
    for (const block of this.log.blocks) {
      const rows = this.blockRows(block);
      if (wanted < row + rows) {
        for (let line = block.first; ; line++) {
          const height = this.rows(line);
          if (wanted < row + height) return [line, row];
          row += height;
        }
      }
      row += rows;
    }
    if (this.log.lines > this.log.complete) return [this.log.lines, row];
    return this.log.complete > 0 ? [this.log.complete, row - this.rows(this.log.complete)] : [1, 0];
  }
}
