package page

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

func TestLogViewShows(t *testing.T) {
	ctx := logTab(t)
	do(t, ctx, `make(); view.append(bytes('one\n\x1b[31mtwo\x1b[0m \x1b[38;2;250;10;20mtrue\x1b[0m \x1b[30;41mback\x1b[0m\n10%\r100%\nla')); view.append(bytes('st'))`)
	want(t, ctx,
		`texts().join() === 'one,two true back,100%,last'`, `view.lines === 4`,
		`$('.log-count').textContent === '4 lines'`,
		`[...document.querySelectorAll('.log-number')].map((a) => a.getAttribute('href')).join() === '#L1,#L2,#L3,#L4'`,
		`getComputedStyle($('.log-bent')).getPropertyValue('--log-colour') === '#fa0a14'`,
		`getComputedStyle($('.log-back')).backgroundColor === 'rgb(201, 27, 0)'`,
		`$('.log-body').getAttribute('role') === 'log' && $('.log-body').getAttribute('aria-live') === 'off'`,
		`[...document.querySelectorAll('button')].every((button) => button.getAttribute('aria-label'))`,
	)
	do(t, ctx, `view.append(bytes(' line\n')); view.end('The worker was lost.')`)
	want(t, ctx, `texts()[3] === 'last line'`, `view.lines === 4`, `$('.log-foot').textContent.includes('The worker was lost.')`)
	do(t, ctx, `view.clear()`)
	want(t, ctx, `texts().length === 0`, `view.lines === 0`, `!$('.log-foot').textContent.includes('lost')`)
	do(t, ctx, `view.append(bytes('again'))`)
	want(t, ctx, `texts().join() === 'again'`)
}

// What a task writes is shown as text, and nothing else: no elements but the viewer's own, and nothing runs or is fetched.
func TestLogViewHostile(t *testing.T) {
	ctx := logTab(t)
	hostile := []string{
		`<script>alert(1)</script>`, `<img src=x onerror=alert(2)>`, `<svg onload=alert(3)>`, `"><iframe src="javascript:alert(4)">`,
		"\x1b]8;;javascript:alert(5)\x07click\x1b]8;;\x07", "\x1b]52;c;ZXZpbA==\x07", `<style>*{display:none}</style>`, `</span></div><h1>hello</h1>`,
		"\x1b[38;2;1;1;1;);background:url(//example.com)m", "a" + strings.Repeat("\u0301", 500), `<a href=//example.com>`, `{{constructor.constructor('alert(6)')()}}`,
		"\u202e\u2066<b>\u2069", "&lt;&#60;b&#62;", "\x1bP<script>alert(7)</script>\x1b\\", "\u009b<script>", "\x00<b>\x00",
	}
	do(t, ctx, `make({ follow: false }); view.append(bytes(`+quote(strings.Join(hostile, "\n"))+`)); view.end('<img src=x onerror=alert(8)>')`)
	do(t, ctx, `const input = $('.log-search'); input.value = '<script>'; input.dispatchEvent(new Event('input')); view.layout.more(1)`)
	want(t, ctx,
		`view.lines === `+quote(len(hostile)),
		`texts()[0] === '<script>alert(1)</script>'`,
		`texts()[4] === 'click'`,
		`[...document.querySelectorAll('#log *')].every((node) => ['DIV', 'SPAN', 'A', 'MARK', 'BUTTON', 'INPUT'].includes(node.tagName))`,
		`[...document.querySelectorAll('#log a')].every((a) => /^#L\d+$/.test(a.getAttribute('href')))`,
		`[...document.querySelectorAll('#log .log-text *')].every((node) => [...node.attributes].every(({ name }) => name === 'class' || name === 'style'))`,
		`[...document.querySelectorAll('.log-line')].every((row) => row.getBoundingClientRect().height % 20 === 0)`,
		`performance.getEntriesByType('resource').every(({ name }) => name.startsWith(location.origin + '/static/') || ['/start.js', '/favicon.ico'].includes(name.slice(location.origin.length)))`,
		`document.querySelectorAll('mark').length === 1`,
	)
}

func TestLogViewAddresses(t *testing.T) {
	ctx := logTab(t)
	do(t, ctx, `location.hash = '#L150-L152'; make(); view.append(bytes(Array.from({ length: 100 }, (_, i) => 'line ' + (i + 1)).join('\n') + '\n'))`)
	want(t, ctx, `!$('.log-selected')`, `!view.following`, `location.hash === '#L150-L152'`)
	do(t, ctx, `view.append(bytes(Array.from({ length: 900 }, (_, i) => 'line ' + (i + 101)).join('\n') + '\n'))`)
	chosen := `[...document.querySelectorAll('.log-selected .log-number')].map((n) => n.textContent).join()`
	visible := func(line string) string {
		return `(() => { const n = $('[data-line="` + line + `"]').getBoundingClientRect(), b = view.body.getBoundingClientRect(); return n.top >= b.top && n.bottom <= b.bottom })()`
	}
	want(t, ctx, chosen+` === '150,151,152'`, visible("150"))

	do(t, ctx, `view.goto(700)`)
	want(t, ctx, chosen+` === '700'`, visible("700"), `location.hash === '#L700'`)
	click := func(line string, keys ...chromedp.Modifier) {
		t.Helper()
		at := js[[]float64](t, ctx, `(() => { const r = $('[data-line="`+line+`"]').getBoundingClientRect(); return [r.x + r.width - 12, r.y + 10] })()`)
		if err := chromedp.Do(ctx, chromedp.MouseClickXY(at[0], at[1], chromedp.ButtonModifiers(keys...))); err != nil {
			t.Fatal(err)
		}
		do(t, ctx, "")
	}
	click("703")
	want(t, ctx, chosen+` === '703'`, `location.hash === '#L703'`)
	click("701", chromedp.ModifierShift)
	want(t, ctx, chosen+` === '701,702,703'`, `location.hash === '#L701-L703'`)
	click("705", chromedp.ModifierShift)
	want(t, ctx, chosen+` === '703,704,705'`)
	press(t, ctx, kb.Escape)
	want(t, ctx, chosen+` === ''`, `location.hash === ''`)

	do(t, ctx, `location.hash = '#L9'; await new Promise((done) => setTimeout(done))`)
	until(t, ctx, chosen+` === '9'`)
	for _, odd := range []string{"#L0", "#L-1", "#Lx", "#L99999999999999999999", "#other"} {
		do(t, ctx, `location.hash = `+quote(odd)+`; await new Promise((done) => setTimeout(done))`)
		want(t, ctx, chosen+` === '9'`)
	}
	do(t, ctx, `view.end(); view.goto(5000)`) // is not there and will not be
	want(t, ctx, `texts().includes('line 1000')`)

	do(t, ctx, `location.hash = ''; view.remove(); window.told = []; make({ onSelect: (...lines) => told.push(lines) }); view.append(bytes('a\nb\n')); view.goto(2); view.choose()`)
	want(t, ctx, `JSON.stringify(told) === '[[2,2],[null,null]]'`, `location.hash === ''`)
}

func TestLogViewFollows(t *testing.T) {
	ctx := logTab(t)
	atEnd := `view.body.scrollTop + view.body.clientHeight >= view.body.scrollHeight - 1`
	do(t, ctx, `make(); window.more = (n) => view.append(bytes('more\n'.repeat(n))); more(1000)`)
	want(t, ctx, atEnd, `view.following`, `$('.log-new').hidden`)
	if err := chromedp.Do(ctx, chromedp.MouseEvent(chromedp.MouseWheel, 400, 300, func(p *input.DispatchMouseEventParams) { p.DeltaX, p.DeltaY = 1, -300 })); err != nil {
		t.Fatal(err)
	}
	until(t, ctx, `!view.following`)
	do(t, ctx, `window.place = view.scroll.top; more(1234)`)
	want(t, ctx, `view.scroll.top === place`, `!$('.log-new').hidden`, `$('.log-new').textContent.startsWith('1,234 new lines')`)
	do(t, ctx, `$('.log-new').click()`)
	want(t, ctx, atEnd, `view.following`, `$('.log-new').hidden`)
	do(t, ctx, `more(10)`)
	want(t, ctx, atEnd)

	press(t, ctx, "f")
	want(t, ctx, `!view.following`, `$('[aria-label="Follow the end of the log"]').getAttribute('aria-pressed') === 'false'`)
	press(t, ctx, "g")
	want(t, ctx, `view.body.scrollTop === 0`, `$('.log-number').textContent === '1'`)
	press(t, ctx, "G", chromedp.KeyModifiers(chromedp.ModifierShift))
	want(t, ctx, atEnd, `view.following`)
	press(t, ctx, kb.Home)
	want(t, ctx, `view.body.scrollTop === 0`, `!view.following`)
	press(t, ctx, kb.End)
	want(t, ctx, atEnd, `view.following`)
	do(t, ctx, `view.body.scrollTop -= 500`)
	want(t, ctx, `!view.following`)
	do(t, ctx, `view.body.scrollTop += 10000`) // by hand to the end
	want(t, ctx, `view.following`)
}

func TestLogViewSearches(t *testing.T) {
	ctx := logTab(t)
	hits := func(text string) string { return `$('.log-hits').textContent === ` + quote(text) }
	current := func(line int, text string) []string {
		return []string{
			`document.querySelectorAll('.log-current').length === 1`, `$('.log-current').textContent === ` + quote(text),
			`$('.log-current').closest('.log-line').firstChild.textContent === ` + quote(fmt.Sprint(line)),
		}
	}
	// A hit in lines 10, 20, ..., over several blocks, one of them in a long line behind what is shown at first.
	do(t, ctx, `make(); let log = '';
		for (let i = 1; i <= 20000; i++) log += 'line ' + i + (i === 12340 ? 'x'.repeat(5000) : '') + (i % 1000 === 340 ? ' \x1b[1mNe\x1b[0mEdle.*' : '') + '\n';
		view.append(bytes(log)); view.top()`)
	slash := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: "/", Text: "/"} // as a keyboard does: no "/" appears
	if _, err := chromedp.Call(ctx, input.DispatchKeyEvent, slash); err != nil {
		t.Fatal(err)
	}
	want(t, ctx, `document.activeElement === $('.log-search')`, `$('.log-search').value === ''`)
	press(t, ctx, "needle")
	want(t, ctx, hits("1 of 20 hits"), `!view.following`)
	want(t, ctx, `$('mark').parentElement.textContent === 'line 340 NeEdle.*'`)
	press(t, ctx, kb.Enter)
	want(t, ctx, hits("2 of 20 hits"))
	press(t, ctx, kb.Enter, chromedp.KeyModifiers(chromedp.ModifierShift))
	press(t, ctx, kb.Enter, chromedp.KeyModifiers(chromedp.ModifierShift))
	want(t, ctx, hits("20 of 20 hits")) // round the start
	press(t, ctx, ".*")
	want(t, ctx, hits("20 of 20 hits")) // no pattern: these very characters
	do(t, ctx, `view.body.focus()`)
	press(t, ctx, "n")
	want(t, ctx, hits("1 of 20 hits"))
	for range 12 {
		press(t, ctx, "n")
	}
	want(t, ctx, hits("13 of 20 hits"), `texts().some((text) => text.endsWith('NeEdle.*') && text.length > 5000)`)
	press(t, ctx, "p")
	press(t, ctx, "N", chromedp.KeyModifiers(chromedp.ModifierShift))
	want(t, ctx, hits("11 of 20 hits"))
	press(t, ctx, "l")
	want(t, ctx, `location.hash === '#L10340'`)

	do(t, ctx, `$('[aria-label="Match case"]').click()`)
	want(t, ctx, hits("0 hits"), `$('[aria-label="Next hit"]').disabled`)
	do(t, ctx, `const input = $('.log-search'); input.value = 'NeEdle'; input.dispatchEvent(new Event('input'))`)
	want(t, ctx, `$('.log-hits').textContent.endsWith(' of 20 hits')`)
	do(t, ctx, `view.append(bytes('NeEdle NeEdle\nneedle\n'))`)
	want(t, ctx, `$('.log-hits').textContent.endsWith(' of 22 hits')`)
	press(t, ctx, kb.Escape)
	want(t, ctx, hits(""), `!$('mark')`)

	do(t, ctx, `view.clear(); view.append(bytes('one\ntwo <b>(1)</b> two\n')); $('[aria-label="Match case"]').click()
		const input = $('.log-search'); input.value = 'TWO'; input.dispatchEvent(new Event('input'))`)
	want(t, ctx, current(2, "two")...)
	want(t, ctx, hits("1 of 2 hits"), `texts()[1] === 'two <b>(1)</b> two'`, `document.querySelectorAll('mark').length === 2`, `$('[role=status].log-unseen').textContent === '1 of 2 hits, line 2'`)
}

// Keys belong to others while the focus is elsewhere on the page, or when they come with Ctrl and the like.
func TestLogViewLeavesKeysAlone(t *testing.T) {
	ctx := logTab(t)
	do(t, ctx, `make(); view.append(bytes('one\n')); const other = document.createElement('input'); other.id = 'other'; document.body.append(other); other.focus()`)
	press(t, ctx, "f/g")
	want(t, ctx, `view.following`, `$('#other').value === 'f/g'`, `document.activeElement === $('#other')`)
	do(t, ctx, `$('#other').blur()`)
	press(t, ctx, "f", chromedp.KeyModifiers(chromedp.ModifierAlt))
	want(t, ctx, `view.following`)
	press(t, ctx, "f")
	want(t, ctx, `!view.following`)
}

func TestLogViewCopies(t *testing.T) {
	ctx := logTab(t)
	do(t, ctx, `make({ follow: false }); view.append(bytes('one\n\x1b[31mtwo\x1b[0m and two\n' + 'x'.repeat(5000) + '\nfour\n'));
		window.copied = () => { const event = new ClipboardEvent('copy', { clipboardData: new DataTransfer(), bubbles: true, cancelable: true });
			view.list.dispatchEvent(event); return event.clipboardData.getData('text/plain') }`)
	want(t, ctx, `copied() === ''`)
	do(t, ctx, `const texts = document.querySelectorAll('.log-text'); getSelection().setBaseAndExtent(texts[0].firstChild, 1, texts[3].firstChild, 2)`)
	want(t, ctx, `copied() === 'ne\ntwo and two\n' + 'x'.repeat(4096) + '\nfo'`)
	do(t, ctx, `const text = document.querySelectorAll('.log-text')[1]; getSelection().setBaseAndExtent(text.firstChild.firstChild, 1, text.lastChild, 3)`)
	want(t, ctx, `copied() === 'wo an'`)
	do(t, ctx, `view.append(bytes('five\n'))`)
	want(t, ctx, `getSelection().toString() === 'wo an'`) // lasts while the log grows
	do(t, ctx, `getSelection().removeAllRanges(); view.choose(2, 3)`)
	want(t, ctx, `copied() === 'two and two\n' + 'x'.repeat(5000)`)
}

// Where the layout says that a line is, there it is, wrapped and not; and few nodes do for any length.
func TestLogViewPlaces(t *testing.T) {
	for _, width := range []int64{1000, 390} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			ctx := logTab(t)
			if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, 700)); err != nil {
				t.Fatal(err)
			}
			do(t, ctx, `make({ follow: false }); let log = '';
				for (let i = 1; i <= 20000; i++) log += 'line ' + i + ' ' + 'word and   '.repeat(i * i % 31) + (i % 501 === 0 ? 'long '.repeat(2000) : '') + (i % 7 === 0 ? '\ttab\t' : '') + '\n';
				view.append(bytes(log));
				window.misplaced = () => [...document.querySelectorAll('.log-line')].filter((row) => {
					const line = Number(row.firstChild.textContent);
					const should = view.layout.top(line) * 20 - view.scroll.top;
					return Math.abs(row.getBoundingClientRect().top - view.body.getBoundingClientRect().top - should) > 1;
				}).map((row) => row.firstChild.textContent + ' at ' + row.getBoundingClientRect().top)`)
			for _, wrap := range []string{"false", "true"} {
				do(t, ctx, `view.setWrap(`+wrap+`)`)
				for _, place := range []string{"0", "1234", "77777", "1e9"} {
					do(t, ctx, `view.body.scrollTop = `+place)
					if got := js[[]string](t, ctx, `misplaced()`); len(got) > 0 {
						t.Errorf("wrapped %s, scrolled to %s: misplaced lines %q", wrap, place, got)
					}
					want(t, ctx, `document.querySelectorAll('#log *').length < 400`, `document.querySelectorAll('.log-line').length >= 3`)
				}
				want(t, ctx, `texts().pop().startsWith('line 20000')`)
			}
			do(t, ctx, `view.goto(501)`)
			do(t, ctx, `$('button.log-more').click()`)
			want(t, ctx, `misplaced().length === 0`, `texts().some((text) => text.startsWith('line 501 ') && text.length > 9999)`, `view.chosen.has(501)`)
			do(t, ctx, `view.setWrap(false)`)
			want(t, ctx, `misplaced().length === 0`)

			do(t, ctx, `view.append(bytes('x'.repeat(3 << 20) + '\nthe end\n')); view.follow(true)`)
			want(t, ctx, `misplaced().length === 0`, `texts().pop() === 'the end'`)
			for range 4 {
				do(t, ctx, `const buttons = document.querySelectorAll('button.log-more'); buttons[buttons.length - 1].click(); view.follow(true)`)
				want(t, ctx, `misplaced().length === 0`)
			}
			want(t, ctx, `[...document.querySelectorAll('.log-more')].pop().textContent === '\u2026 2,097,152 more characters, only in the downloaded log'`)
		})
	}
}

// A list that is taller than browsers allow: its ends, any line in it, and small steps are exact.
func TestLogViewTall(t *testing.T) {
	ctx := logTab(t)
	do(t, ctx, `make(); const piece = bytes('a line\n'.repeat(10000)); for (let i = 0; i < 100; i++) view.append(piece)`)
	number := func(n string) string {
		return `[...document.querySelectorAll('.log-number')].some((a) => a.textContent === '` + n + `')`
	}
	want(t, ctx, `view.lines === 1000000`, number("1000000"), `view.body.scrollHeight <= 8e6`, `document.querySelectorAll('#log *').length < 400`)
	do(t, ctx, `view.goto(777777)`)
	want(t, ctx, number("777777"), `view.scroll.offset > 0`)
	do(t, ctx, `window.before = view.scroll.top; view.body.scrollTop -= 100`)
	want(t, ctx, `Math.abs(before - 100 - view.scroll.top) < 1`)
	do(t, ctx, `view.body.scrollTop = 0`)
	want(t, ctx, number("1"), `view.scroll.top === 0`)
	do(t, ctx, `view.body.scrollTop = 4e6`)
	want(t, ctx, `Math.abs($('.log-number').textContent - 500000) < 100`)
	do(t, ctx, `view.body.scrollTop = 1e9`)
	want(t, ctx, number("1000000"), `view.following`)
	for range 3 { // small steps to the very end, and to the start
		do(t, ctx, `view.top()`)
		want(t, ctx, number("1"), `view.body.scrollTop === 0`)
		do(t, ctx, `view.follow(true)`)
		want(t, ctx, number("1000000"))
	}
}

// When the oldest lines go, the reader is told, and what they look at stays where it is.
func TestLogViewKeepsTheNewest(t *testing.T) {
	ctx := logTab(t)
	do(t, ctx, `make({ keep: 1 << 20 }); window.n = 0; window.more = (lines) => { let log = ''; for (let i = 0; i < lines; i++) log += 'line ' + ++n + ' of many\n'; view.append(bytes(log)) }; more(40000)`)
	do(t, ctx, `view.goto(35000)`)
	do(t, ctx, `window.place = () => $('[data-line="35000"]').getBoundingClientRect().top; window.before = place(); window.first = view.log.first; more(20000)`)
	want(t, ctx, `view.log.first > first`, `place() === before`, `$('.log-foot').textContent.includes('older lines')`)
	do(t, ctx, `more(100000)`)
	want(t, ctx, `view.log.first > 35000`, `$('.log-number').textContent === String(view.log.first)`)
	do(t, ctx, `view.goto(1)`)
	want(t, ctx, `view.scroll.top === 0`)
}
