package page

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/chromedp/chromedp"
)

const logPage = `<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>log</title>
<link rel="stylesheet" href="/static/log.css"><div id="log"></div><script type="module" src="/start.js"></script>`

// logStart makes what the tests use: make(options) for a view, bytes(text), and settled() for a promise of a page at rest.
const logStart = `
import { LogView } from '/static/log.js';
import { Log, spans } from '/static/model.js';
const encoder = new TextEncoder();
window.bytes = (text) => typeof text === 'string' ? encoder.encode(text) : Uint8Array.from(text);
window.make = (options) => window.view = new LogView(document.getElementById('log'), options);
window.Log = Log;
window.spans = spans;
window.settled = async () => {
  for (let calm = 0; calm < 3; calm++) {
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    if (view.queue.length > 0 || view.frame || (view.find && !view.find.done)) calm = 0;
  }
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
	if err := chromedp.Do(ctx, chromedp.Navigate(server.URL+"/")); err != nil {
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
		t.Fatalf("evaluate %.200s: %v", expression, err)
	}
	return value
}

// do runs statements, which may await.
func do(t *testing.T, ctx context.Context, statements string, args ...any) {
	t.Helper()
	js[bool](t, ctx, "(async () => { "+fmt.Sprintf(statements, args...)+"; return true })()")
}

// until waits for a condition.
func until(t *testing.T, ctx context.Context, condition string) {
	t.Helper()
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](condition)); err != nil {
		t.Fatalf("wait for %s: %v", condition, err)
	}
}

func quote(v any) string {
	var buf bytes.Buffer
	_ = json.NewEncoder(&buf).Encode(v)
	return buf.String()
}

func TestLogViewShowsLines(t *testing.T) {
	ctx := logTab(t)
	do(t, ctx, `make(); view.append(bytes(%s)); await settled()`, quote("one\n\x1b[31mtwo\x1b[0m\n10%\r100%\nlast"))
	got := js[[]string](t, ctx, `[...document.querySelectorAll('.log-text')].map((n) => n.textContent)`)
	if fmt.Sprint(got) != "[one two 100% last]" {
		t.Errorf("lines %q", got)
	}
}
