// A log as lines of styled text, compactly: bytes in, lines out, without the DOM.
//
// Complete lines lie in blocks of about 64 Ki characters: one string, the offsets of its lines and of the changes of
// style. That is about one byte for each character (two where a block has more than Latin-1), four for each line and
// twelve for each change of style. At most `keep` bytes are kept: the oldest blocks go first, and `first` says where the
// log begins then. Line numbers count from 1, and stay.

import { Parser } from './ansi.js';
import { head, Line } from './line.js';
import { isSimple } from './width.js';

const BLOCK = 1 << 16; // characters after which a block is full
const MIB = 1 << 20;

// Block is some complete lines. While it is open, its lines are separate strings.
class Block {
  constructor(first) {
    this.first = first; // the number of its first line
    this.count = 0;
    this.texts = []; // while open
    this.text = ''; // when sealed: the lines, each but the last with a line feed
    this.starts = []; // the offset of each line in text
    this.marks = []; // as Line's, with offsets in text; a line's style at its start is that of the mark before
    this.lost = null; // Map from a line's number to how many of its characters were not kept
    this.longest = 0; // characters of the longest line
    this.simple = true; // every character is one column
    this.length = 0;
    this.memory = 0; // bytes, estimated, once sealed
  }

  add(text, marks, lost) {
    if (lost > 0) (this.lost ??= new Map()).set(this.first + this.count, lost);
    const n = this.marks.length;
    const styled = n > 0 && (this.marks[n - 2] !== 0 || this.marks[n - 1] !== 0);
    if (styled && marks[0] !== 0) this.marks.push(this.length, 0, 0);
    for (let i = 0; i < marks.length; i += 3) this.marks.push(this.length + marks[i], marks[i + 1], marks[i + 2]);
    this.starts.push(this.length);
    this.texts.push(text);
    this.count++;
    this.longest = Math.max(this.longest, text.length);
    this.length += text.length + 1;
  }

  seal() {
    this.text = this.texts.join('\n'); // the one copy; the pieces of the decoder are let go
    this.texts = null;
    this.starts = Uint32Array.from(this.starts);
    this.marks = Uint32Array.from(this.marks);
    this.simple = isSimple(this.text.replaceAll('\n', ''));
    const wide = /[^\x00-\xff]/.test(this.text);
    this.memory = this.text.length * (wide ? 2 : 1) + 4 * (this.starts.length + this.marks.length) + 200;
  }

  // size is how many characters of a line are kept.
  size(line) {
    const i = line - this.first;
    if (this.texts) return this.texts[i].length;
    return (i + 1 < this.count ? this.starts[i + 1] - 1 : this.text.length) - this.starts[i];
  }

  read(line, limit) {
    const i = line - this.first;
    const size = this.size(line);
    const start = this.starts[i];
    const text = head(this.texts ? this.texts[i] : this.text.slice(start, start + size), limit);
    const marks = [];
    for (let m = this.markBefore(start); m < this.marks.length && this.marks[m] < start + text.length; m += 3) {
      marks.push(Math.max(0, this.marks[m] - start), this.marks[m + 1], this.marks[m + 2]);
    }
    return { text, marks, size, lost: this.lost?.get(line) ?? 0 };
  }

  // markBefore finds the last mark at or before an offset, or the first of all.
  markBefore(offset) {
    let low = 0, high = this.marks.length / 3;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.marks[3 * middle] <= offset) low = middle + 1;
      else high = middle;
    }
    return 3 * Math.max(0, low - 1);
  }
}

export class Log {
  // keep: bytes of memory for complete lines.
  constructor({ keep = 256 * MIB } = {}) {
    this.keep = keep;
    this.clear();
  }

  clear() {
    this.line = new Line(() => this.endLine());
    this.parser = new Parser(this.line);
    this.blocks = [new Block(1)]; // the last one is open
    this.memory = 0;
    this.complete = 0; // lines that have ended
    this.widest = 0; // characters of the longest line ever
    this.ended = false;
  }

  write(bytes) { this.parser.write(bytes); }

  // end completes the last line, if it has no end of its own.
  end() {
    this.parser.end();
    if (!this.line.empty) this.endLine();
    this.ended = true;
  }

  // lines counts all lines so far, with the one that is being written as soon as it has something to show.
  get lines() { return this.complete + (this.line.empty ? 0 : 1); }

  // first is the number of the oldest line that is kept.
  get first() { return this.blocks[0].first; }

  // read gives {text, marks, size, lost}: the first `limit` characters of a line, where its style changes (see line.js), how
  // many characters of it are kept, and how many more it had.
  read(line, limit = Infinity) {
    if (line === this.complete + 1) return this.line.read(limit);
    return this.blockOf(line).read(line, limit);
  }

  // size is how many characters of a line are kept.
  size(line) {
    return line === this.complete + 1 ? this.line.read(0).size : this.blockOf(line).size(line);
  }

  blockOf(line) {
    let low = 0, high = this.blocks.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.blocks[middle].first <= line) low = middle;
      else high = middle;
    }
    return this.blocks[low];
  }

  endLine() {
    const { text, marks, lost } = this.line.read(Infinity);
    const block = this.blocks[this.blocks.length - 1];
    block.add(text, marks, lost);
    this.complete++;
    this.widest = Math.max(this.widest, text.length);
    this.line.clear();
    if (block.length < BLOCK) return;
    block.seal();
    this.memory += block.memory;
    this.blocks.push(new Block(this.complete + 1));
    while (this.memory > this.keep && this.blocks.length > 2) this.memory -= this.blocks.shift().memory;
  }
}

// spans cuts a line's text where its style changes: calls each(text, fg and flags, bg) in order.
export function spans({ text, marks }, each) {
  let from = 0, fg = 0, bg = 0;
  for (let i = 0; i <= marks.length; i += 3) {
    const to = i < marks.length ? Math.min(marks[i], text.length) : text.length;
    if (to > from) each(text.slice(from, to), fg, bg);
    from = to;
    fg = marks[i + 1];
    bg = marks[i + 2];
  }
}
