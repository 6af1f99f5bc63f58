// Reads what a program wrote for a terminal: bytes in, calls on a "screen" out (see line.js).
//
// It decodes UTF-8 at any split, follows colours (SGR) and the few sequences by which programs rewrite the line they are
// on, and drops every other escape sequence. What could disguise a line (bidirectional controls) and what could not be
// seen (control characters) becomes text. It knows nothing of the DOM, and the same bytes give the same calls' outcome
// however they are cut into pieces.
//
// A screen has: put(text), lineFeed(), carriageReturn(), move(columns), column(n), erase(mode), and style, a Style.

const GROUND = 0, ESCAPE = 1, INTERMEDIATE = 2, CSI = 3, STRING = 4;

const MAX_STRING = 1 << 16; // characters of an OSC, DCS, ... that nobody ended; what follows is text again
const MAX_PARAMS = 256;

// Everything in GROUND that is not simply text. The tabulator is text.
const SPECIAL = /[\x00-\x08\n-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
const WHOLE_SGR = /\x1b\[([0-9;:]{0,64})m/y; // the bulk of all escape sequences
const STRING_END = /[\x07\n\x18\x1a\x1b\x9c]/g;

// Colours are numbers: 0 is the default, 1 to 256 the palette, and TRUE_COLOUR + 0xRRGGBB.
export const TRUE_COLOUR = 1 << 24;
export const BOLD = 1, DIM = 2, ITALIC = 4, UNDERLINE = 8, STRIKE = 16, INVERSE = 32;

// Style is how text looks. Concealed text and blinking text look like any other.
export class Style {
  constructor() { this.reset(); }
  reset() { this.fg = 0; this.bg = 0; this.flags = 0; }

  // sgr follows "Select Graphic Rendition"; what it does not know changes nothing.
  sgr(params) {
    if (/^\d{0,2}$/.test(params)) return this.simple(Number(params), []);
    const codes = params.split(';');
    for (let i = 0; i < codes.length; i++) {
      const [head, ...sub] = codes[i].split(':');
      const n = Number(head);
      if (n === 38 || n === 48 || n === 58) {
        let colour;
        if (sub.length > 0) { // 38:5:n, 38:2:r:g:b or 38:2:<colour space>:r:g:b
          colour = sub[0] === '5' ? palette(sub[1]) : sub[0] === '2' ? rgb(sub.slice(sub.length > 4 ? 2 : 1)) : -1;
        } else if (codes[i + 1] === '5') {
          colour = palette(codes[i + 2]);
          i += 2;
        } else if (codes[i + 1] === '2') {
          colour = rgb(codes.slice(i + 2, i + 5));
          i += 4;
        } else {
          colour = -1;
        }
        if (colour >= 0 && n === 38) this.fg = colour;
        if (colour >= 0 && n === 48) this.bg = colour;
      } else {
        this.simple(n, sub);
      }
    }
  }

  simple(n, sub) {
    if (n === 0) this.reset();
    else if (n === 1) this.flags |= BOLD;
    else if (n === 2) this.flags |= DIM;
    else if (n === 3) this.flags |= ITALIC;
    else if (n === 4) sub[0] === '0' ? this.flags &= ~UNDERLINE : this.flags |= UNDERLINE;
    else if (n === 7) this.flags |= INVERSE;
    else if (n === 9) this.flags |= STRIKE;
    else if (n === 21) this.flags |= UNDERLINE; // a double one
    else if (n === 22) this.flags &= ~(BOLD | DIM);
    else if (n === 23) this.flags &= ~ITALIC;
    else if (n === 24) this.flags &= ~UNDERLINE;
    else if (n === 27) this.flags &= ~INVERSE;
    else if (n === 29) this.flags &= ~STRIKE;
    else if (n >= 30 && n <= 37) this.fg = n - 30 + 1;
    else if (n === 39) this.fg = 0;
    else if (n >= 40 && n <= 47) this.bg = n - 40 + 1;
    else if (n === 49) this.bg = 0;
    else if (n >= 90 && n <= 97) this.fg = n - 90 + 8 + 1;
    else if (n >= 100 && n <= 107) this.bg = n - 100 + 8 + 1;
  }
}

function palette(text) {
  const n = Number(text);
  return text !== undefined && n <= 255 ? n + 1 : -1;
}

function rgb(texts) {
  const [r, g, b] = texts.map(Number);
  return texts.length >= 3 && r <= 255 && g <= 255 && b <= 255 ? TRUE_COLOUR + (r << 16) + (g << 8) + b : -1;
}

export class Parser {
  constructor(screen) {
    this.screen = screen;
    this.decoder = new TextDecoder(); // drops a byte order mark at the very start
    this.state = GROUND;
    this.params = '';
    this.swallowed = 0;
  }

  write(bytes) { this.parse(this.decoder.decode(bytes, { stream: true })); }

  // end shows a character that was cut in its middle. An unfinished escape sequence is dropped.
  end() {
    this.parse(this.decoder.decode());
    this.state = GROUND;
  }

  parse(text) {
    let at = 0;
    while (at < text.length) {
      if (this.state === GROUND) {
        SPECIAL.lastIndex = at;
        const next = SPECIAL.test(text) ? SPECIAL.lastIndex - 1 : text.length;
        if (next > at) this.screen.put(text.slice(at, next));
        at = next + 1;
        if (next === text.length) return;
        WHOLE_SGR.lastIndex = next;
        const sgr = text[next] === '\x1b' ? WHOLE_SGR.exec(text) : null;
        if (sgr) {
          this.screen.style.sgr(sgr[1]);
          at = WHOLE_SGR.lastIndex;
        } else {
          this.control(text.charCodeAt(next));
        }
      } else if (this.state === STRING) {
        at = this.string(text, at);
      } else if (this.sequence(text[at])) {
        at++;
      } else { // not a part of the sequence: what it is without it
        this.state = GROUND;
      }
    }
  }

  control(code) {
    switch (code) {
      case 0x08: return this.screen.move(-1);
      case 0x0a: return this.screen.lineFeed();
      case 0x0d: return this.screen.carriageReturn();
      case 0x0e: case 0x0f: return; // shifts between character sets, as in the "sgr0" of some terminals
      case 0x1b: return this.enter(ESCAPE);
      case 0x7f: return this.screen.put('\u2421');
      case 0x90: case 0x98: case 0x9d: case 0x9e: case 0x9f: return this.enter(STRING);
      case 0x9b: return this.enter(CSI);
    }
    if (code < 0x20) this.screen.put(String.fromCharCode(0x2400 + code));
    else if (code > 0x9f) this.screen.put(`<U+${code.toString(16).toUpperCase().padStart(4, '0')}>`);
  }

  enter(state) {
    this.state = state;
    this.params = '';
    this.swallowed = 0;
  }

  // sequence takes one more character of ESC or CSI; false says that it does not belong there.
  sequence(c) {
    if (this.state === CSI) {
      if (c >= ' ' && c <= '?') {
        if (this.params.length < MAX_PARAMS) this.params += c;
      } else if (c >= '@' && c <= '~') {
        this.state = GROUND;
        this.csi(c, this.params);
      } else {
        return false;
      }
      return true;
    }
    if (c === '\x1b') this.enter(ESCAPE);
    else if (c >= ' ' && c <= '/') this.state = INTERMEDIATE;
    else if (c < '0' || c > '~') return false;
    else if (this.state === INTERMEDIATE) this.state = GROUND;
    else if (c === '[') this.enter(CSI);
    else if (']PX^_k'.includes(c)) this.enter(STRING); // k: the title of a window of screen and tmux
    else this.state = GROUND;
    return true;
  }

  // string swallows an OSC, DCS, SOS, PM or APC up to its end: BEL, ST, or what breaks it off, such as the end of the line.
  string(text, at) {
    STRING_END.lastIndex = at;
    const end = STRING_END.test(text) ? STRING_END.lastIndex - 1 : text.length;
    if (this.swallowed + end - at >= MAX_STRING) {
      this.state = GROUND;
      return at + MAX_STRING - this.swallowed;
    }
    this.swallowed += end - at;
    if (end === text.length) return end;
    if (text[end] === '\x1b') this.enter(ESCAPE); // ESC \ is ST; any other begins anew
    else this.state = GROUND;
    return text[end] === '\n' ? end : end + 1;
  }

  csi(final, params) {
    if (/[^0-9;:]/.test(params) || params.length === MAX_PARAMS) return; // private to some terminal
    const n = Math.min(Number(/^\d*/.exec(params)[0]), 1 << 16);
    switch (final) {
      case 'm': return this.screen.style.sgr(params);
      case 'K': return this.screen.erase(n);
      case 'J': return n === 0 ? this.screen.erase(0) : undefined; // "the rest of the screen" is the rest of the line
      case 'C': return this.screen.move(n || 1);
      case 'D': return this.screen.move(-(n || 1));
      case 'G': case '`': return this.screen.column(n - 1);
    }
  }
}
