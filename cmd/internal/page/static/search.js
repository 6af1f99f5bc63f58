// The search of a LogView: looks through the log in slices, and goes from hit to hit.

import { Find } from './find.js';

export class Search {
  // found(hit) is called when the search has gone to a hit, {line, from}, or with null when there is none; progress() after
  // each slice.
  constructor(log, { slice, found, progress }) {
    this.log = log;
    this.slice = slice;
    this.found = found;
    this.progress = progress;
    this.find = null; // null while nothing is searched
    this.hit = null; // the hit that is looked at
    this.step = 0; // where the reader wants to go: 1 to the next hit, -1 to the previous one
  }

  // start looks for another text; here is the line to begin at.
  start(needle, matchCase, here) {
    this.find = needle === '' ? null : new Find(this.log, needle, matchCase);
    this.hit = null;
    if (this.find) this.seek(1, here);
  }

  // stop forgets what was searched.
  stop() { this.start('', false, 0); }

  seek(step, here) {
    this.step = step;
    this.here = here;
    this.go();
    this.scan();
  }

  // scan looks through what is new in the log, in the background.
  scan() {
    if (this.scanning || !this.find || this.find.done) return;
    this.scanning = true;
    setTimeout(() => {
      this.scanning = false;
      if (!this.find) return;
      this.find.scan(performance.now() + this.slice);
      this.go();
      this.progress();
      this.scan();
    });
  }

  // go goes where the reader wants to, once that is known. At the ends of the log it goes round.
  go() {
    if (!this.step) return;
    const { line, from } = this.hit ?? { line: this.here, from: -1 };
    let hit = this.step > 0 ? this.find.after(line, from) : this.find.before(line, from);
    if (!hit && !this.find.done) return;
    hit ??= this.step > 0 ? this.find.after(0, 0) : this.find.before(Infinity, 0);
    this.step = 0;
    if (hit) this.hit = hit;
    this.found(hit);
  }
}
