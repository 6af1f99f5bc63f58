// How many columns of a terminal a text takes. Near enough: 0 for marks that join the character before them, 2 for East
// Asian and emoji, 1 for the rest; a tabulator goes to the next multiple of 8.

export const TAB = 8;
const ZERO = /^[\p{Mn}\p{Me}\u200b-\u200d\u2060\ufeff]/u;
const WIDE = /^[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\p{Emoji_Presentation}\u{20000}-\u{3fffd}]/u;

// A text of which every UTF-16 unit is one column: Latin, Greek, Cyrillic, punctuation, arrows, boxes, blocks.
const SIMPLE = /^[\x20-\x7e\xa0-\u02ff\u0370-\u03ff\u0400-\u0482\u048a-\u0590\u2010-\u2027\u2030-\u205e\u2190-\u2319\u2400-\u25fc]*$/;

export function charWidth(char) {
  if (char < '\u0300') return 1;
  return ZERO.test(char) ? 0 : WIDE.test(char) ? 2 : 1;
}

export function isSimple(text) { return SIMPLE.test(text); }

// rows counts the rows of that many columns which a text needs, when it is broken anywhere.
export function rows(text, columns) {
  if (isSimple(text)) return Math.max(1, Math.ceil(text.length / columns));
  let rows = 1, at = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    let width = 1;
    if (code === 9) {
      width = TAB - at % TAB;
    } else if (code >= 0x300) {
      const char = String.fromCodePoint(text.codePointAt(i));
      width = charWidth(char);
      i += char.length - 1;
    }
    if (at + width > columns) {
      rows++;
      at = 0;
      if (code === 9) width = Math.min(TAB, columns);
    }
    at += width;
  }
  return rows;
}
