package sidecar_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
)

var agentLine = regexp.MustCompile(`(?m)^upload-agent: .*\n`)

// What may happen to the file of a log, while it is read and while nobody looks.
func TestWhatHappensToLogFiles(t *testing.T) {
	const name = "logs/app.log"
	const replaced, truncated = "upload-agent: while the agent was away, logs/app.log was replaced: ", "upload-agent: logs/app.log was truncated after 4390 bytes of it were read; "
	first, second := lines(0, 500), lines(500, 600)
	rename := func(w *worker, to string) { w.must(os.Rename(w.path(name), w.path(to))) }
	for what, c := range map[string]struct {
		happens        func(w *worker)
		want           string // of the log, without the agent's lines
		said, saidAway string // by the agent in the log; "": nothing
	}{
		"grows": {func(w *worker) { w.append(name, second) }, first + second, "", ""},
		"is rotated": {func(w *worker) {
			w.append(name, "last words\n")
			rename(w, "logs/app.log.1")
			w.write(name, second)
		}, first + "last words\n" + second, "", ""},
		"is rotated away": {func(w *worker) {
			rename(w, "elsewhere")
			w.write(name, second)
		}, first + second, "", replaced},
		"is rotated twice": {func(w *worker) {
			rename(w, "logs/app.log.1")
			w.write(name, second)
			if w.awaitLogIfServed("app.log", len(first+second)); w.away {
				return // what had the name only while nobody looked is a log of its own
			}
			w.must(os.Rename(w.path("logs/app.log.1"), w.path("logs/app.log.2")))
			rename(w, "logs/app.log.1")
		}, first + second, "", ""},
		"is renamed for good": {func(w *worker) {
			rename(w, "logs/app.log.old")
			w.append("logs/app.log.old", second)
		}, first + second, "", ""},
		"is renamed and written on": {func(w *worker) {
			f, err := os.OpenFile(w.path(name), os.O_WRONLY|os.O_APPEND, 0)
			w.must(err)
			rename(w, "logs/app.log.1")
			w.write(name, "")
			w.awaitLogIfServed("app.log", len(first))
			_, err = f.WriteString(second)
			w.must(err)
			w.must(f.Close())
		}, first + second, "", ""},
		"is truncated": {func(w *worker) {
			w.must(os.Truncate(w.path(name), 0))
			w.append(name, second[:100])
		}, first + second[:100], truncated, replaced},
		"is written anew": {func(w *worker) { w.write(name, strings.ToUpper(first+second)) }, first + strings.ToUpper(first+second), truncated, replaced},
		"is replaced": {func(w *worker) {
			w.write("logs/.new", second)
			w.must(os.Rename(w.path("logs/.new"), w.path(name)))
		}, first + second, "", replaced},
		"is removed": {func(w *worker) { w.must(os.Remove(w.path(name))) }, first, "", replaced},
		"is removed and made again": {func(w *worker) {
			w.must(os.Remove(w.path(name)))
			w.write(name, second)
		}, first + second, "", replaced},
		"is not touched": {func(*worker) {}, first, "", ""},
	} {
		for how, events := range map[string]bool{"with events": true, "by looking only": false, "while the agent is away": true} {
			t.Run(what+" "+how, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, agenttest.Options{})
				r.options.NoEvents = !events
				r.start()
				w := r.worker("one")
				w.append(name, first)
				w.append("logs/other.log", "other\n")
				w.awaitLog("app.log", len(first))
				away := how == "while the agent is away"
				if away {
					w.away = true
					r.restart(func() { c.happens(w) })
				} else {
					c.happens(w)
				}
				w.finish()
				s := w.awaitPhase(schema.PhaseCompleted)
				got := w.stored("artifacts/app.log")
				plain := agentLine.ReplaceAllString(got, "")
				if away && strings.Contains(got, "\nupload-agent") { // its line begins one of its own
					plain = strings.Replace(plain, "\n\n", "\n", 1)
				}
				if plain != c.want {
					t.Errorf("the log is\n%s\nwant\n%s", short(got), short(c.want))
				}
				said := strings.Join(agentLine.FindAllString(got, -1), "")
				want := c.said
				if away {
					want = c.saidAway
				}
				if want == "" && said != "" || !strings.Contains(said, want) {
					t.Errorf("the agent says in the log: %q, want %q", said, want)
				}
				if len(s.Problems) > 0 {
					t.Errorf("problems %v", s.Problems)
				}
				for name := range w.result().Artifacts {
					if name != "app.log" && name != "other.log" {
						t.Errorf("%s is a log too: %s", name, short(w.stored("artifacts/"+name)))
					}
				}
				w.wantArtifact("other.log", "other\n")
			})
		}
	}
}

// awaitLogIfServed is awaitLog, unless nobody reads the log now.
func (w *worker) awaitLogIfServed(name string, bytes int) {
	w.t.Helper()
	if !w.away {
		w.awaitLog(name, bytes)
	}
}

func short(text string) string {
	if len(text) < 600 {
		return text
	}
	return fmt.Sprintf("%s\n... %d bytes ...\n%s", text[:300], len(text)-600, text[len(text)-300:])
}
