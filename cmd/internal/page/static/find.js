// Searches a log that may still grow, a little at a time: plain text, within lines, in all lines that are complete.

export class Find {
  constructor(log, needle, matchCase) {
    this.log = log;
    const flags = (matchCase ? 'g' : 'gi') + (/[^\x00-\x7f]/.test(needle) ? 'u' : '');
    this.pattern = new RegExp(needle.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'), flags);
    this.counts = new WeakMap(); // hits in each sealed block
    this.open = { block: null, lines: 0, count: 0 }; // hits in the first lines of the open one
    this.next = 1; // the first line that has not been looked at
  }

  // scan looks further until the deadline (of performance.now), and says whether it has seen all there is.
  scan(deadline) {
    while (this.next <= this.log.complete) {
      if (performance.now() > deadline) return false;
      const block = this.log.blockOf(Math.max(this.next, this.log.first));
      if (!block.texts) {
        this.counts.set(block, this.countIn(block.text));
        this.next = block.first + block.count;
        continue;
      }
      if (this.open.block !== block) this.open = { block, lines: 0, count: 0 };
      for (let some = 0; some < 100 && this.open.lines < block.count; some++, this.open.lines++) {
        this.open.count += this.countIn(block.texts[this.open.lines]);
      }
      this.next = block.first + this.open.lines;
    }
    return true;
  }

  get done() { return this.next > this.log.complete; }

  // total counts the hits found so far.
  get total() {
    let total = 0;
    for (const block of this.log.blocks) total += this.count(block);
    return total;
  }

  count(block) { return this.counts.get(block) ?? (this.open.block === block ? this.open.count : 0); }

  countIn(text) {
    let count = 0;
    this.pattern.lastIndex = 0; // as it is after a test that has failed
    while (this.pattern.test(text)) count++;
    return count;
  }

  // hits gives where a text has hits: [from, to, from, to, ...].
  hits(text) {
    const found = [];
    for (const match of text.matchAll(this.pattern)) found.push(match.index, match.index + match[0].length);
    return found;
  }

  // after finds the first hit behind a place, {line, from}, among the blocks looked at; before finds the last one before it.
  after(line, column) { return this.near(line, column, 1); }
  before(line, column) { return this.near(line, column, -1); }

  near(line, column, step) {
    const blocks = this.log.blocks;
    let i = blocks.indexOf(this.log.blockOf(Math.max(line, this.log.first)));
    for (; i >= 0 && i < blocks.length; i += step) {
      if (this.count(blocks[i]) === 0) continue;
      const last = blocks[i].first + blocks[i].count - 1;
      let at = step > 0 ? Math.max(line, blocks[i].first) : Math.min(line, last);
      for (; at >= blocks[i].first && at <= last; at += step) {
        const hits = this.hits(this.log.read(at).text).filter((_, n) => n % 2 === 0);
        const from = step > 0 ? hits.find((from) => at > line || from > column) : hits.findLast((from) => at < line || from < column);
        if (from !== undefined) return { line: at, from };
      }
    }
    return null;
  }

  // ordinal is which of all hits one is, from 1.
  ordinal({ line, from }) {
    let n = 0;
    for (const block of this.log.blocks) {
      if (block.first + block.count <= line) {
        n += this.count(block);
        continue;
      }
      for (let at = block.first; at < line; at++) n += this.countIn(this.log.read(at).text);
      return n + 1 + this.hits(this.log.read(line).text).filter((start, i) => i % 2 === 0 && start < from).length;
    }
    return n;
  }
}
