package page

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// chromium is the one browser of all tests of this package: started by the first that asks for it, ended by TestMain.
var chromium struct {
	start sync.Once
	ctx   context.Context
	stop  func()
	err   error
}

func TestMain(m *testing.M) {
	m.Run()
	if chromium.stop != nil {
		chromium.stop()
	}
}

// browser gives a tab of a headless Chromium, with a storage of its own and two minutes to live. The test fails if anything in
// it opens a dialog, throws an exception that nobody catches, or tries what the Content-Security-Policy forbids.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := findChromium()
	switch {
	case path == "" && os.Getenv("UPLOAD_AGENT_REQUIRE_REAL") != "":
		t.Fatal("no Chromium on this machine, and UPLOAD_AGENT_REQUIRE_REAL is set: install it (on Debian: apt-get install chromium)")
	case path == "":
		t.Skip("NOT TESTED: there is no Chromium on this machine (on Debian: apt-get install chromium)")
	}
	chromium.start.Do(func() { startChromium(path) })
	if chromium.err != nil {
		t.Fatal(chromium.err)
	}

	var mu sync.Mutex
	var surprises []string
	surprise := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		surprises = append(surprises, fmt.Sprintf(format, args...))
	}
	dialogs := make(chan struct{}, 100)
	listen := func(event any) { // must not wait, nor send a command
		switch event := event.(type) {
		case *cdppage.EventJavascriptDialogOpening:
			surprise("a dialog opened: %q", event.Message)
			dialogs <- struct{}{}
		case *runtime.EventExceptionThrown:
			text := event.ExceptionDetails.Text
			if thrown := event.ExceptionDetails.Exception; thrown != nil {
				text += " " + thrown.Description
			}
			surprise("an exception that nobody catches: %s", text)
		case *log.EventEntryAdded:
			if event.Entry.Source == log.EntrySourceSecurity {
				surprise("against the security policy: %s", event.Entry.Text)
			}
		}
	}
	tab, closeTab := chromedp.NewContext(chromium.ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(listen))
	ctx, cancel := context.WithTimeout(tab, 2*time.Minute)
	if _, err := chromedp.Call(ctx, log.Enable, cdp.Empty{}); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	var closing sync.WaitGroup
	closing.Go(func() { // a dialog stops its page, and with it the test
		for {
			select {
			case <-dialogs:
				_, _ = chromedp.Call(ctx, cdppage.HandleJavaScriptDialog, cdppage.HandleJavaScriptDialogParams{})
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		closing.Wait()
		closeTab()
		mu.Lock()
		defer mu.Unlock()
		for _, surprise := range surprises {
			t.Error(surprise)
		}
	})
	return ctx
}

func startChromium(path string) {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // it does not start as root otherwise
		chromedp.WSURLReadTimeout(60*time.Second),
	)
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stop := chromedp.NewContext(allocator)
	chromium.ctx = ctx
	chromium.stop = func() {
		stop()
		stopAllocator()
	}
	if err := chromedp.Do(ctx); err != nil {
		chromium.err = fmt.Errorf("start %s: %w", path, err)
	}
}

// findChromium returns the path of a browser that speaks the DevTools protocol, or "".
func findChromium() string {
	for _, name := range []string{
		"chromium", "chromium-browser", "google-chrome", "google-chrome-stable",
		"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium",
	} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}
