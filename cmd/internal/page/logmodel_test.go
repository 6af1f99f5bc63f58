package page

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a log shows, line by line; styles as in "plain {fg1 bold|bold and red}".
var logCases = []struct {
	name  string
	input string
	want  []string
}{
	{"nothing", "", nil},
	{"lines", "one\n\ntwo\r\nthree", []string{"one", "", "two", "three"}},
	{"a last line with its end", "one\n", []string{"one"}},
	{"a tabulator stays", "a\tb\n", []string{"a\tb"}},
	{"UTF-8", "é日本\U0001f600\n", []string{"é日本\U0001f600"}},
	{"broken UTF-8", "a\xffb\xc3\n\xe6\x97", []string{"a\ufffdb\ufffd", "\ufffd"}},
	{"a byte order mark", "\ufeffone\n", []string{"one"}},

	{"16 colours", "\x1b[31mred\x1b[0m \x1b[42mon green\x1b[49m \x1b[94mblue\x1b[39m\x1b[107mx", []string{"{fg1|red} {bg2|on green} {fg12|blue}{bg15|x}"}},
	{"256 colours", "\x1b[38;5;200ma\x1b[48;5;16mb\x1b[m\x1b[38:5:7mc", []string{"{fg200|a}{fg200 bg16|b}{fg7|c}"}},
	{"true colours", "\x1b[38;2;1;2;255ma\x1b[38:2:3:4:5mb\x1b[38:2::6:7:8mc\x1b[48;2;9;10;11md",
		[]string{"{fg#0102ff|a}{fg#030405|b}{fg#060708|c}{fg#060708 bg#090a0b|d}"}},
	{"attributes", "\x1b[1mb\x1b[22;2md\x1b[22;3mi\x1b[23;4mu\x1b[24;9ms\x1b[29;7mr\x1b[27mp", []string{"{bold|b}{dim|d}{italic|i}{underline|u}{strike|s}{inverse|r}p"}},
	{"curly and no underline", "\x1b[4:3mu\x1b[4:0mp\x1b[21mu\x1b[24mp", []string{"{underline|u}p{underline|u}p"}},
	{"concealed text is shown", "\x1b[8mhidden\x1b[5m blink", []string{"hidden blink"}},
	{"colours go on over lines", "\x1b[31ma\nb\n\x1b[0mc\n", []string{"{fg1|a}", "{fg1|b}", "c"}},
	{"the colour of an underline is passed over", "\x1b[58;5;1;31mx\x1b[58;2;1;2;3;1my", []string{"{fg1|x}{fg1 bold|y}"}},
	{"unknown and wrong SGR", "\x1b[99;38;5;300;1ma\x1b[38mb\x1b[?31mc\x1b[>4;1md\x1b[1 me", []string{"{bold|abcde}"}},
	{"empty parameters", "\x1b[31ma\x1b[;1mb\x1b[;mc", []string{"{fg1|a}{bold|b}c"}},

	{"titles and links", "\x1b]0;title\x07a\x1b]8;;https://example.com/\x1b\\link\x1b]8;;\x1b\\b\u009d0;x\u009cc", []string{"alinkbc"}},
	{"DCS, SOS, PM, APC, and titles of screen", "\x1bPq#0\x1b\\a\x1bXx\x1b\\b\x1b^x\x1b\\c\x1b_x\x1b\\d\x1bktitle\x1b\\e\u0090x\u009cf", []string{"abcdef"}},
	{"an OSC that is never ended ends with its line", "a\x1b]0;b\nc\n", []string{"a", "c"}},
	{"an OSC that is broken off", "a\x1b]0;b\x18c\x1b]0;b\x1b[31md", []string{"ac{fg1|d}"}},
	{"an OSC without an end is bounded", "a\x1b]" + strings.Repeat("x", 1<<16) + "b", []string{"ab"}},
	{"other sequences", "\x1b[2J\x1b[1;1Ha\x1b(Bb\x1b=c\x1b7\x1b[?25l\x1b[5Ad\x1b[1;2re\x1b#8f", []string{"abcdef"}},
	{"C1 controls", "a\u0084\u0085b\u009b31mc", []string{"ab{fg1|c}"}},
	{"a sequence that is broken off", "a\x1b[31\nb\x1b[3é\x1b\x1b[32mc\x1b", []string{"a", "bé{fg2|c}"}},
	{"character set shifts", "a\x0eb\x0fc", []string{"abc"}},

	{"a progress bar", "10%\r 55%\r100% done\nnext\n", []string{"100% done", "next"}},
	{"a shorter state leaves the rest", "12345\rab\n", []string{"ab345"}},
	{"a carriage return before the end", "abc\r\r\n\rx\n", []string{"abc", "x"}},
	{"a coloured progress bar", "\x1b[31maaaa\r\x1b[32mbb\x1b[0m\n", []string{"{fg2|bb}{fg1|aa}"}},
	{"erase to the end", "12345\r\x1b[Kab\n12345\rab\x1b[K\nab\x1b[K\n12345\r12\x1b[J\n", []string{"ab", "ab", "ab", "12"}},
	{"erase the line", "12345\x1b[2K\rab\n12345\x1b[2Kab\n", []string{"ab", "ab"}},
	{"erase to the start", "12345\x1b[2D\x1b[1Kx\n", []string{"   x5"}},
	{"to a column", "12345\x1b[1Ga\x1b[4Gd\x1b[Gb\n", []string{"b23d5"}},
	{"left and right", "12345\x1b[3Dx\x1b[Cy\x1b[99Dz\n", []string{"z2x4y"}},
	{"right of the text", "a\x1b[3Cb\n", []string{"a   b"}},
	{"backspace", "abc\b\bX\b\b\b\b\bY\n", []string{"YXc"}},
	{"a spinner", "wait |\b/\b-\b\\\bok\n", []string{"wait ok"}},
	{"wide characters overwritten", "日本語\rx\n日本語\x1b[3Gx\nab日\r日x\n", []string{"x 本語", "日x 語", "日x "}},
	{"marks stay with their character", "e\u0301f\rx\n", []string{"xf"}},
	{"a tabulator moves over", "abcdefghij\r\tX\nab\tc\r\x1b[2CX\n", []string{"abcdefghXj", "abX     c"}},
	{"a long line is not rewritten", strings.Repeat("x", 2000) + "\rab\b\n", []string{strings.Repeat("x", 2000) + "\u240dab"}},

	{"control characters", "\x00\x01\x07\x0b\x0c\x18\x1f\x7f", []string{"\u2400\u2401\u2407\u240b\u240c\u2418\u241f\u2421"}},
	{"bidirectional controls", "a\u202eb\u202c\u2066c\u2069\u200e\u200f\u061c", []string{"a<U+202E>b<U+202C><U+2066>c<U+2069><U+200E><U+200F><U+061C>"}},
	{"other ends of lines", "a\u2028b\u2029c", []string{"a<U+2028>b<U+2029>c"}},
	{"markup", "<b>&amp;</b>", []string{"<b>&amp;</b>"}},
}

func TestLogModel(t *testing.T) {
	ctx := logTab(t)
	for _, c := range logCases {
		t.Run(c.name, func(t *testing.T) {
			data := quote([]byte(c.input)) // base64
			got := js[[]string](t, ctx, fmt.Sprintf(`window.input = Uint8Array.from(atob(%s), (c) => c.charCodeAt()); parse([input])`, data))
			if diff := cmp.Diff(c.want, got); diff != "" && len(c.want)+len(got) > 0 {
				t.Fatalf("%.100q (-want +got):\n%s", c.input, diff)
			}
			different := js[[]int](t, ctx, `(() => {
				const whole = parse([input]).join('\n');
				const different = [];
				const step = Math.max(1, input.length >> 10);
				for (let at = 0; at <= input.length; at += step) {
					if (parse([input.subarray(0, at), input.subarray(at)]).join('\n') !== whole) different.push(at);
				}
				return different;
			})()`)
			if len(different) > 0 {
				t.Errorf("%.100q gives something else when it is split at %v", c.input, different)
			}
		})
	}
}

// Any bytes give the same lines, however they are cut.
func TestLogModelSplits(t *testing.T) {
	ctx := logTab(t)
	got := js[string](t, ctx, `(() => {
		let state = 1;
		const random = (n) => { // mulberry32
			state = state + 0x6d2b79f5 | 0;
			let t = Math.imul(state ^ state >>> 15, 1 | state);
			t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
			return ((t ^ t >>> 14) >>> 0) % n;
		};
		const alphabet = [...'\x1b\x1b\x1b\r\r\n\b\t[[[];;:mmKDCGJPk\\0123840518 abc\x07\x18\x9b\x9d\x9c日\u0301\u{1f600}\u202e', 'x'.repeat(400)].map(bytes);
		for (let round = 1; round <= 2000; round++) {
			state = round;
			const input = Uint8Array.from(Array.from({ length: random(60) }, () => [...alphabet[random(alphabet.length)]]).flat());
			if (round % 2) for (let i = 0; i < input.length; i += 1 + random(20)) input[i] = random(256);
			const pieces = [];
			for (let at = 0, to; at < input.length; at = to) {
				to = Math.min(input.length, at + 1 + random(12));
				pieces.push(input.subarray(at, to));
			}
			const [whole, cut] = [parse([input]), parse(pieces)].map(JSON.stringify);
			if (whole !== cut) return 'round ' + round + ': ' + JSON.stringify([...input]) + '\n' + whole + '\n' + cut;
		}
		return '';
	})()`)
	if got != "" {
		t.Error(got)
	}
}

func TestLogModelLimits(t *testing.T) {
	ctx := logTab(t)
	t.Run("a line without an end", func(t *testing.T) {
		want(t, ctx, `(() => {
			window.log = new Log();
			const piece = bytes('x'.repeat(65536));
			for (let i = 0; i < 64; i++) log.write(piece);
			log.write(bytes('\nnext'));
			log.end();
			return log.lines === 2;
		})()`, `log.read(1).size === 1 << 20`, `log.read(1).lost === 3 << 20`, `log.read(1, 10).text === 'xxxxxxxxxx'`, `log.read(2).text === 'next'`)
	})
	t.Run("half a character", func(t *testing.T) {
		want(t, ctx, `(() => {
			window.log = new Log();
			log.write(bytes('x' + '\u{1f600}'.repeat(1 << 19) + 'y'));
			log.end();
			return true;
		})()`, `log.read(1).size === (1 << 20) - 1`, `log.read(1).lost === 3`, `log.read(1, 4).text === 'x\u{1f600}'`)
	})
	t.Run("the newest part is kept", func(t *testing.T) {
		want(t, ctx, `(() => {
			window.log = new Log({ keep: 1 << 20 });
			for (let i = 1; i <= 100000; i++) log.write(bytes('\x1b[3' + i % 8 + 'mline ' + i + ' of many\n'));
			log.end();
			return true;
		})()`, `log.lines === 100000`, `log.memory <= 1 << 20`, `log.memory > 1 << 19`, `log.first > 1000`,
			`log.read(100000).text === 'line 100000 of many'`, `log.read(log.first).text === 'line ' + log.first + ' of many'`,
			`log.read(log.first).marks[1] === log.first % 8 + 1`)
	})
	t.Run("hostile sequences cost little", func(t *testing.T) {
		for _, sequence := range []string{"\rx", "\x1b[2Kx", "\b\bx", "\x1b[1K", "\x1b[9999Cx\r\x1b[K", "\x1b]", "\x1b[31mx\x1b[32my", "\u0301\b"} {
			lines := js[int](t, ctx, fmt.Sprintf(`(() => {
				const log = new Log();
				log.write(bytes('y'.repeat(1000) + %s.repeat(20000) + 'z'));
				log.end();
				return log.lines;
			})()`, quote(sequence))) // the deadline of the tab is the measure
			if lines != 1 {
				t.Errorf("%q: %d lines", sequence, lines)
			}
		}
	})
}
