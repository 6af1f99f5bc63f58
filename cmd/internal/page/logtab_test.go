package page

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/chromedp/chromedp"
)

const logPage = `<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>log</title>
<link rel="stylesheet" href="/static/log.css"><div id="log"></div><script type="module" src="/start.js"></script>`

// logStart makes what the tests use.
const logStart = `
import { LogView } from '/static/log.js';
import { Log, spans } from '/static/model.js';
import { BOLD, DIM, INVERSE, ITALIC, STRIKE, TRUE_COLOUR, UNDERLINE } from '/static/ansi.js';

const encoder = new TextEncoder();
window.bytes = (text) => encoder.encode(text);
window.make = (options) => window.view = new LogView(document.getElementById('log'), options);
window.Log = Log;
window.texts = () => [...document.querySelectorAll('.log-text')].map((node) => node.textContent);
window.$ = (selector) => document.querySelector(selector);

// settled waits until the view has nothing more to do.
window.settled = async () => {
  for (let calm = 0; calm < 3; calm++) {
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    const { find, scanning } = view.search;
    if (view.queue.length > 0 || view.frame || scanning || (find && !find.done)) calm = 0;
  }
};

const names = [[BOLD, 'bold'], [DIM, 'dim'], [ITALIC, 'italic'], [UNDERLINE, 'underline'], [STRIKE, 'strike'], [INVERSE, 'inverse']];
const colour = (kind, n) => n === 0 ? [] : [kind + (n >= TRUE_COLOUR ? '#' + (n - TRUE_COLOUR).toString(16).padStart(6, '0') : n - 1)];

// parse gives the lines of a log that comes in these pieces, with styles as in "plain {fg1 bold|bold and red}".
window.parse = (pieces) => {
  const log = new Log();
  for (const piece of pieces) log.write(piece);
  log.end();
  const lines = [];
  for (let line = 1; line <= log.lines; line++) {
    let shown = '';
    const content = log.read(line);
    spans(content, (text, packed, bg) => {
      const flags = names.filter(([flag]) => packed >>> 25 & flag).map(([, name]) => name);
      const style = [...colour('fg', packed & (1 << 25) - 1), ...colour('bg', bg), ...flags].join(' ');
      shown += style ? '{' + style + '|' + text + '}' : text;
    });
    lines.push(content.lost ? shown + '+' + content.lost : shown);
  }
  return lines;
};
window.ready = true;
`

// logTab gives a tab with a page that holds a log viewer and nothing else, under the policy of the inspector page.
func logTab(t *testing.T) context.Context {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("GET /static/", http.StripPrefix("/static/", http.FileServerFS(os.DirFS("static"))))
	answer := func(path, contentType, body string) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = w.Write([]byte(body))
		})
	}
	answer("/{$}", "text/html; charset=utf-8", logPage)
	answer("/start.js", "text/javascript", logStart)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:")
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	ctx := browser(t)
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1000, 700), chromedp.Navigate(server.URL+"/")); err != nil {
		t.Fatalf("open the page: %v", err)
	}
	until(t, ctx, `window.ready === true`)
	return ctx
}

// js evaluates an expression, waits if it is a promise, and returns what it gives.
func js[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("evaluate %.300s: %v", expression, err)
	}
	return value
}

// do runs statements, which may await, and lets the view come to rest.
func do(t *testing.T, ctx context.Context, statements string) {
	t.Helper()
	js[bool](t, ctx, "(async () => { "+statements+"; await settled(); return true })()")
}

// until waits for a condition.
func until(t *testing.T, ctx context.Context, condition string) {
	t.Helper()
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](condition)); err != nil {
		t.Fatalf("wait for %s: %v", condition, err)
	}
}

// want checks conditions, each a JavaScript expression.
func want(t *testing.T, ctx context.Context, conditions ...string) {
	t.Helper()
	for _, condition := range conditions {
		if !js[bool](t, ctx, "!!("+condition+")") {
			t.Errorf("does not hold: %s", condition)
		}
	}
}

// press sends keys to whatever has the focus, and lets the view come to rest.
func press(t *testing.T, ctx context.Context, keys string, options ...chromedp.KeyOption) {
	t.Helper()
	if err := chromedp.Do(ctx, chromedp.KeyEvent(keys, options...)); err != nil {
		t.Fatalf("press %q: %v", keys, err)
	}
	do(t, ctx, "")
}

// quote gives a value as JavaScript.
func quote(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}
