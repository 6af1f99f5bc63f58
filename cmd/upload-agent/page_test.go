package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// simulation is "upload-agent simulate --serve" as a process.
type simulation struct {
	t      *testing.T
	cmd    *exec.Cmd
	output sharedBuffer
	ended  chan struct{}
	page   string // URL of the task's page
	gate   string // the command waits for this file, if it waits
}

// simulateServed runs a shell script in a folder; it has the gate's path as $0.
func simulateServed(t *testing.T, dir, script string, options ...string) *simulation {
	t.Helper()
	s := &simulation{t: t, ended: make(chan struct{}), gate: filepath.Join(t.TempDir(), "gate")}
	args := append([]string{"simulate", "--serve=127.0.0.1:0", "--dir", t.TempDir()}, options...)
	s.cmd = exec.Command("upload-agent", append(args, "--", "sh", "-c", script, s.gate)...)
	s.cmd.Dir = dir
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.ended)
		_ = s.cmd.Wait() // the status is looked at in the process state
	}()
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		<-s.ended
		if t.Failed() {
			t.Logf("upload-agent said:\n%s", s.output.String())
		}
	})
	s.page = s.says(`inspector page: (http://\S+)`)
	return s
}

// says waits until the program prints what an expression matches, and gives its first group.
func (s *simulation) says(expression string) string {
	s.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		if found := regexp.MustCompile(expression).FindStringSubmatch(s.output.String()); found != nil {
			return found[len(found)-1]
		}
		select {
		case <-tick.C:
		case <-s.ended:
			s.t.Fatalf("the program has ended without saying %s:\n%s", expression, s.output.String())
		case <-deadline:
			s.t.Fatalf("the program does not say %s:\n%s", expression, s.output.String())
		}
	}
}

func (s *simulation) open() {
	s.t.Helper()
	if err := os.WriteFile(s.gate, nil, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// interrupt presses Ctrl-C, and gives the exit status.
func (s *simulation) interrupt() int {
	s.t.Helper()
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatal("the program does not end")
	}
	return s.cmd.ProcessState.ExitCode()
}

const waitForGate = `until [ -e "$0" ]; do sleep 0.05; done; `

// A reader watches a run from its beginning to its end in a browser.
func TestPageFollowsARun(t *testing.T) {
	b := openBrowser(t)
	dir := t.TempDir()
	report := filepath.Join(dir, "report.html")
	if err := os.WriteFile(report, []byte("<!doctype html><title>A report</title>"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := simulateServed(t, dir, `echo 'the first line'; printf '\033[1;31mred words\033[0m and plain ones\n'; printf 'step 1\rstep 2\rstep 3 of 3\n'; `+waitForGate+
		`i=1; while [ $i -le 400 ]; do echo "line with number $i"; i=$((i+1)); done; echo 'the needle'; echo 'the last line'; exit 3`,
		"--artifact", "public/report.html="+report, "--artifact", "public/none.txt="+filepath.Join(dir, "none.txt"))
	b.viewport(1280, 900, "light")
	b.open(s.page)

	// While the command runs.
	b.sees(".log", "the first line")
	b.sees(".title .badge", "Running")
	b.until(`document.title.startsWith("Running")`)
	b.sees(".log", "step 3 of 3")
	if text := get[string](b, `document.querySelector(".log").innerText`); strings.Contains(text, "step 1") || strings.Contains(text, "the last line") {
		t.Errorf("the log: %q", text)
	}
	b.until(`(() => { const words = [...document.querySelectorAll(".log span")].find((e) => e.textContent === "red words");
		const [red, green, blue] = getComputedStyle(words).color.match(/\d+/g).map(Number); return red > green + 60 && red > blue + 60; })()`)
	b.sees(".documents", "result.json\nnot there")
	b.shootAll("2-running")

	// The rest comes by itself.
	s.open()
	b.sees(".log", "the last line")
	b.sees(".title .badge", "Task failed")
	b.until(`document.title.startsWith("Task failed")`)
	b.sees(".artifacts", "public/report.html")
	b.sees(".artifacts .missing", "public/none.txt")
	b.sees(".facts", "simulate/simulate")
	b.until(`[...document.querySelectorAll(".documents details .badge")].map((e) => e.innerText).join() === "valid,valid,valid,valid"`)
	b.do(chromedp.Click(chromedp.CSS(".documents details:first-of-type summary")))
	b.sees(".documents pre", `"provisionerId": "simulate"`)
	b.shootAll("3-finished")

	t.Run("search and keys", func(t *testing.T) { searchAndKeys(t, b) })
	b.open(s.page + "#L2")
	b.sees(".log-selected", "red words and plain ones")
	t.Run("download", func(t *testing.T) { download(t, b) })
	t.Run("narrow", func(t *testing.T) { narrow(t, b, s) })
	if status := s.interrupt(); status != 3 {
		t.Errorf("exit status %d, want the command's own", status)
	}
}

func searchAndKeys(t *testing.T, b *browser) {
	get[chromedp.Void](b, `document.activeElement.blur()`)
	b.press("/")
	b.until(`document.activeElement.matches(".log input[type=search]")`)
	b.types("needle")
	b.sees(".log-current", "needle")
	b.sees(".log-hits", "1 of 1 hit")
	b.shootAll("4-search")
	b.types(kb.Escape)
	b.until(`document.activeElement.matches(".log-body")`)
	follows := `[...document.querySelectorAll(".log-button")].find((e) => e.innerText === "Follow").getAttribute("aria-pressed") === "%v"`
	b.until(fmt.Sprintf(follows, false)) // since the search has gone elsewhere
	b.press("f")
	b.until(fmt.Sprintf(follows, true))
	b.sees(".log", "the last line")
	get[chromedp.Void](b, `document.querySelector(".documents summary").focus()`) // the keys are the whole page's
	b.press("f")
	b.until(fmt.Sprintf(follows, false))
	b.press("/")
	b.until(`document.activeElement.matches(".log input[type=search]")`)
	b.types(kb.Escape)
	b.until(`document.activeElement.matches(".log-body")`)
	b.press("?")
	b.until(`document.getElementById("help").open`)
	b.shoot("5-help")
	b.types(kb.Escape)
	b.until(`!document.getElementById("help").open`)

	b.do(chromedp.Reload())
	b.sees(".title .badge", "Task failed")
	b.types(kb.Tab)
	b.until(`document.activeElement.matches("a.skip") && document.activeElement.getBoundingClientRect().top >= 0`)
	b.types(kb.Enter)
	b.until(`document.activeElement.id === "main"`)
}

// download saves the log with the page's own link: what is saved is what the storage has.
func download(t *testing.T, b *browser) {
	dir := t.TempDir()
	if _, err := chromedp.Call(b.ctx, cdpbrowser.SetDownloadBehavior, cdpbrowser.SetDownloadBehaviorParams{
		Behavior: cdpbrowser.SetDownloadBehaviorBehaviorAllow, DownloadPath: dir,
	}); err != nil {
		t.Fatal(err)
	}
	b.until(`document.querySelector("a.download") !== null`)
	b.do(chromedp.Click(chromedp.CSS("a.download")))
	want := "the first line\n\x1b[1;31mred words\x1b[0m and plain ones\nstep 1\rstep 2\rstep 3 of 3\n"
	for i := 1; i <= 400; i++ {
		want += fmt.Sprintf("line with number %d\n", i)
	}
	want += "the needle\nthe last line\n"
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		saved, err := os.ReadFile(filepath.Join(dir, "run-0-terminal.log"))
		if err == nil && string(saved) == want {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%v; saved %q, want %q", err, saved, want)
		}
	}
}

// narrow checks that nothing sticks out on a phone, and that the dark is dark.
func narrow(t *testing.T, b *browser, s *simulation) {
	home := s.page[:strings.Index(s.page, "/tasks/")]
	for address, place := range map[string]string{s.page: ".artifacts", home: ".tasks .badge"} {
		for _, width := range []int64{390, 320} {
			b.viewport(width, 800, "light")
			b.open(address)
			b.until(fmt.Sprintf("document.querySelector(%q) !== null", place))
			if wide := get[int64](b, "document.documentElement.scrollWidth"); wide > width {
				t.Errorf("%s is %d wide in a window of %d", address, wide, width)
			}
		}
		const brightness = `getComputedStyle(document.documentElement).backgroundColor.match(/\d+/g).slice(0, 3).map(Number).reduce((a, b) => a + b)`
		light := get[int](b, brightness)
		b.viewport(1280, 900, "dark")
		if dark := get[int](b, brightness); light < 600 || dark > 150 {
			t.Errorf("%s: brightness %d in the light and %d in the dark, of 765", address, light, dark)
		}
		b.viewport(1280, 900, "light")
	}
	b.open(home)
	b.sees(".tasks", "Task failed")
	b.shootAll("1-tasks")
}

// Whatever a task writes, calls itself or leaves behind does nothing in the page of whoever looks at it.
func TestPageIsSafeFromTasks(t *testing.T) {
	b := openBrowser(t)
	dir := t.TempDir()
	names := []string{"<img src=x onerror=alert(1)>.html", "'\"><script>alert(2)</script>.svg", "\u202egnp.exe", "a&b #1?x=%2e%2e.txt", "javascript:alert(3)"}
	for _, name := range names {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("<script>alert(4)</script>"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	attack := `<script>alert(5)</script><img src=http://127.0.0.1:1/x onerror=alert(6)>`
	s := simulateServed(t, dir, `: '`+attack+`'; printf '%s\n' '`+attack+`'
		printf '\033]0;a title\007\033]8;;javascript:alert(7)\033\\a link\033]8;;\033\\ \033]8;;http://127.0.0.1:1/\007another\033]8;;\007\n'
		printf '\033]52;c;ZXZpbA==\007\033P1$r0m\033\\\033[2J\033[H\033[?1049h\033[999999999C\033[38;2;1;2;999999mx\033[m\n'
		printf '\033[8mhidden\033[m \302\237 \377\376 \342\200\256 rtl \000 nul\n'
		printf '&lt;b&gt; <style>*{display:none}</style> </pre></main> ${alert(8)} {{alert(9)}}\n'
		echo 'the end of it'`, "--artifact", "**")
	b.viewport(1280, 900, "light")
	b.open(s.page)
	b.sees(".log", "the end of it")
	b.sees(".log", attack)
	b.sees(".log", "&lt;b&gt; <style>*{display:none}</style> </pre></main> ${alert(8)} {{alert(9)}}")
	b.sees("h1", "<script>alert(5)</script>")
	b.sees(".title .badge", "Succeeded")
	b.sees(".artifacts", `\u202egnp.exe`)
	for _, name := range names[:2] {
		b.sees(".artifacts", name)
	}
	for _, details := range []int{1, 3} {
		get[chromedp.Void](b, fmt.Sprintf(`document.querySelector(".documents details:nth-of-type(%d) summary").click()`, details))
	}
	b.sees(".documents pre", "alert(5)")
	b.sees(".documents pre", "onerror=alert(1)")
	b.shootAll("6-hostile")
	if found := get[int](b, `document.querySelectorAll("main script, main img, main iframe, main style, main [onerror], main [style*=url]").length`); found > 0 {
		t.Errorf("%d elements came from the task", found)
	}
	type anchor struct{ Href, Rel string }
	for _, a := range get[[]anchor](b, `[...document.querySelectorAll("main a[href]")].map((a) => ({ Href: a.href, Rel: a.rel }))`) {
		own := strings.HasPrefix(a.Href, s.page[:strings.Index(s.page, "/tasks/")]+"/")
		if !own && (a.Rel != "noopener noreferrer" || !strings.HasPrefix(a.Href, "http://127.0.0.1:") && !strings.HasPrefix(a.Href, "https://example.com/")) {
			t.Errorf("a link to %s, rel %q", a.Href, a.Rel)
		}
	}
	if title := get[string](b, "document.title"); !strings.HasPrefix(title, "Succeeded · sh -c") {
		t.Errorf("title %q", title)
	}
	// The artifact itself is another origin's.
	link := get[string](b, `[...document.querySelectorAll(".artifacts a")].find((a) => a.innerText.includes("<img")).href`)
	response, err := http.Get(link)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK || strings.HasPrefix(link, s.page[:strings.Index(s.page, "/tasks/")]) {
		t.Errorf("%s: %d", link, response.StatusCode)
	}
	b.viewport(390, 800, "light")
	if wide := get[int64](b, "document.documentElement.scrollWidth"); wide > 390 {
		t.Errorf("the page is %d wide in a window of 390", wide)
	}
}
