// The lines that the reader has chosen: their address (#L12, #L12-L34), and copying them or a selected text.

export class Chosen {
  // tell(first, last), if given, hears of every choice, with nulls for none; otherwise location.hash follows.
  constructor(tell) {
    this.tell = tell;
    this.drop();
  }

  drop() {
    this.from = 0; // where the reader began; 0 when nothing is chosen
    this.first = 0;
    this.last = 0;
  }

  get any() { return this.from > 0; }
  has(line) { return this.any && line >= this.first && line <= this.last; }

  // choose takes the lines from one to the other, in any order; extend goes from where the last choice began.
  choose(from, to = from) {
    this.from = from;
    this.first = Math.min(from, to);
    this.last = Math.max(from, to);
    this.publish();
  }

  extend(to) { this.choose(this.any ? this.from : to, to); }

  none() {
    this.drop();
    this.publish();
  }

  publish() {
    if (this.tell) return this.tell(this.any ? this.first : null, this.any ? this.last : null);
    const hash = !this.any ? '' : `#L${this.first}` + (this.last > this.first ? `-L${this.last}` : '');
    if (hash !== location.hash) history.replaceState(history.state, '', hash || location.pathname + location.search);
  }
}

// fromHash reads the lines of an address: [from, to], or null.
export function fromHash(hash) {
  const match = /^#L([1-9]\d{0,14})(?:-L([1-9]\d{0,14}))?$/.exec(hash);
  return match && [Number(match[1]), Number(match[2] ?? match[1])];
}

// selectedText is the plain text of what is selected in the given elements, a line for each.
export function selectedText(range, elements) {
  const texts = [];
  for (const element of elements) {
    if (!range.intersectsNode(element)) continue;
    const part = document.createRange();
    part.selectNodeContents(element);
    if (element.contains(range.startContainer)) part.setStart(range.startContainer, range.startOffset);
    if (element.contains(range.endContainer)) part.setEnd(range.endContainer, range.endOffset);
    texts.push(part.toString());
  }
  return texts.join('\n');
}
