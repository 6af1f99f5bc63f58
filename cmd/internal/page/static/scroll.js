// The scroll bar of a list that may be taller than browsers can bear.
//
// The element inside is at most TALLEST pixels high. Of a taller list, the place is what scrollTop says plus an offset:
// small steps move exactly, large ones (somebody drags the bar) go where the bar stands in proportion.

const TALLEST = 8e6;

export class Scroll {
  constructor(body, space) {
    this.body = body;
    this.space = space;
    this.offset = 0;
    this.seen = 0; // scrollTop, when last looked at
    this.resize(0);
  }

  // view is how much of the list can be seen, top how much of it is above; in pixels.
  get view() { return this.body.clientHeight; }
  get top() { return this.body.scrollTop + this.offset; }
  get atEnd() { return this.top + this.view >= this.height - 2; }

  set top(wanted) {
    const room = this.height - this.view;
    const top = Math.max(0, Math.min(wanted, room));
    const scaled = this.height > this.tall;
    this.body.scrollTop = scaled ? top * (this.tall - this.view) / room : top;
    this.seen = this.body.scrollTop;
    this.offset = scaled ? top - this.seen : 0;
  }

  // resize says how high the whole list is.
  resize(height) {
    if (height === this.height) return;
    this.height = height;
    this.tall = Math.min(height, TALLEST);
    this.space.style.height = this.tall + 'px';
    this.offset = Math.max(0, Math.min(this.offset, height - this.tall));
    this.seen = this.body.scrollTop; // the browser may have had to change it
  }

  // moved says how far the reader has scrolled since the last time, by scrollTop.
  moved() {
    const at = this.body.scrollTop;
    const by = at - this.seen;
    this.seen = at;
    if (by === 0 || this.height <= this.tall) return by;
    const far = Math.abs(by) >= 2 * this.view;
    const edge = at < this.view || at > this.tall - 2 * this.view;
    if (far) this.offset = at / (this.tall - this.view) * (this.height - this.view) - at;
    else if (edge) this.top = this.top; // so that the ends of the bar are the ends of the list
    return by;
  }
}
