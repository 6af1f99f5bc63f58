package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

var shots = flag.String("shots", "", "write screenshots of the inspector page to this `folder`, to be looked at")

// patience is how long a test waits for what a browser shows; a busy machine takes its time.
const patience = 2 * time.Minute

// findChromium gives the browser; without one the test is skipped, but not where everything has to be tested.
func findChromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const missing = "NO CHROMIUM ON THIS MACHINE: the inspector page is not tested. Install it: apt-get install chromium"
	if os.Getenv("UPLOAD_AGENT_REQUIRE_REAL") == "1" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// browser is a tab of a headless Chromium that notes whatever a page must not do.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	trouble  []string
	expected []func(trouble string) bool
	hosts    map[string]bool // that may be asked
}

func openBrowser(t *testing.T) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(findChromium(t)), chromedp.WSURLReadTimeout(patience),
		chromedp.Flag("lang", "en-US"), chromedp.Flag("hide-scrollbars", false))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx, hosts: map[string]bool{}}
	if err := chromedp.Listen(ctx, b.note); err != nil {
		t.Fatalf("start %s: %v", findChromium(t), err)
	}
	_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
	if err == nil {
		_, err = chromedp.Call(ctx, log.Enable, struct{}{})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits for the browser to end
		for _, line := range b.troubles() {
			t.Errorf("the page: %s", line)
		}
	})
	return b
}

// note listens for what a page must not do.
func (b *browser) note(event any) {
	trouble := ""
	switch e := event.(type) {
	case *page.EventJavascriptDialogOpening:
		trouble = "a dialog: " + e.Message
	case *runtime.EventExceptionThrown:
		trouble = "an exception: " + e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			trouble += " " + e.ExceptionDetails.Exception.Description
		}
	case *runtime.EventConsoleAPICalled:
		trouble = fmt.Sprintf("on the console: %s", e.Type)
	case *log.EventEntryAdded: // violations of the Content-Security-Policy are there
		trouble = fmt.Sprintf("%s %s: %s", e.Entry.Source, e.Entry.Level, e.Entry.Text)
	case *network.EventRequestWillBeSent:
		to, err := url.Parse(e.Request.URL)
		if err != nil || to.Scheme != "data" && to.Scheme != "about" && !b.known(to.Host) {
			trouble = "a request to " + e.Request.URL
		}
	}
	if trouble != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.trouble = append(b.trouble, trouble)
	}
}

func (b *browser) known(host string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hosts[host]
}

func (b *browser) troubles() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.trouble), func(trouble string) bool {
		return slices.ContainsFunc(b.expected, func(known func(string) bool) bool { return known(trouble) })
	})
}

// expect forgets those troubles that had to be.
func (b *browser) expect(known func(trouble string) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expected = append(b.expected, known)
}

func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// open goes to a page, and allows requests to its host and to no other.
func (b *browser) open(address string) {
	b.t.Helper()
	to, err := url.Parse(address)
	if err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	b.hosts[to.Host] = true
	b.mu.Unlock()
	b.do(chromedp.Navigate(address))
}

// get evaluates an expression in the page.
func get[T any](b *browser, expression string) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// until waits for an expression to become true.
func (b *browser) until(expression string) {
	b.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		value, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](expression))
		if err == nil && value {
			return
		}
		var thrown *chromedp.ExceptionError // nothing is there yet to look into
		if err != nil && !errors.As(err, &thrown) && b.ctx.Err() != nil {
			b.t.Fatalf("%s: %v", expression, err)
		}
		select {
		case <-tick.C:
		case <-deadline:
			b.shoot("failed")
			b.t.Fatalf("waited in vain for %s (%v); the page:\n%s\n%s", expression, err, get[string](b, "document.title"), get[string](b, "document.body.innerText"))
		}
	}
}

// sees waits for a text to be visible, in or around what a selector names.
func (b *browser) sees(selector, text string) {
	b.t.Helper()
	b.until(fmt.Sprintf("[...document.querySelectorAll(%q)].some((e) => e.innerText.includes(%q))", selector, text))
}

// types presses keys in what has the focus.
func (b *browser) types(keys string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(keys))
}

// press presses a key of a shortcut: as on a real keyboard, and other than with types, it is not typed anywhere if the page takes it.
func (b *browser) press(key string) {
	b.t.Helper()
	for _, event := range []input.DispatchKeyEventParams{{Type: "keyDown", Key: key, Text: key}, {Type: "keyUp", Key: key}} {
		if _, err := chromedp.Call(b.ctx, input.DispatchKeyEvent, event); err != nil {
			b.t.Fatal(err)
		}
	}
}

// viewport makes the window as large as that of some device, and its surroundings light or dark.
func (b *browser) viewport(width, height int64, scheme string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, height))
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
	}); err != nil {
		b.t.Fatal(err)
	}
}

// shoot writes a screenshot, if somebody wants to see it.
func (b *browser) shoot(name string) {
	b.t.Helper()
	if *shots == "" {
		return
	}
	image, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = errors.Join(os.MkdirAll(*shots, 0o755), os.WriteFile(filepath.Join(*shots, name+".png"), image, 0o644))
	}
	if err != nil {
		b.t.Error(err)
	}
}

// shootAll writes screenshots for a wide and a narrow window, light and dark.
func (b *browser) shootAll(name string) {
	b.t.Helper()
	if *shots == "" {
		return
	}
	for _, window := range []struct {
		name          string
		width, height int64
	}{{"wide", 1280, 900}, {"narrow", 390, 844}} {
		for _, scheme := range []string{"light", "dark"} {
			b.viewport(window.width, window.height, scheme)
			b.shoot(strings.Join([]string{name, window.name, scheme}, "-"))
		}
	}
	b.viewport(1280, 900, "light")
}
