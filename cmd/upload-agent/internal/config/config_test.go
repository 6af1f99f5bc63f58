package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/cmd/upload-agent/internal/config"
)

const good = `# the agent of this machine
queue: https://queue.example.com/v1
log-limit: 65536
grace: 1m30s
gzip: off
exclude: ["*.tmp", build/**]

commands:
  exec:
    grace: 10s
    worker-id: 007
    artifact:
      - public/=dist
      - 'a b=c d'
  simulate:
    serve: true
    seed: 3
  tail: {follow: true, lines: 10}
`

func TestLookup(t *testing.T) {
	f, err := config.Parse("agent.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		command, flag string
		want          config.Value
		found         bool
	}{
		{"exec", "queue", config.Value{Text: "https://queue.example.com/v1", Line: 2}, true},
		{"exec", "grace", config.Value{Text: "10s", Line: 10}, true},
		{"resume", "grace", config.Value{Text: "1m30s", Line: 4}, true},
		{"exec", "log-limit", config.Value{Text: "65536", Line: 3}, true},
		{"exec", "gzip", config.Value{Text: "off", Line: 5}, true},
		{"exec", "worker-id", config.Value{Text: "007", Line: 11}, true},
		{"exec", "exclude", config.Value{List: []string{"*.tmp", "build/**"}, Line: 6}, true},
		{"exec", "artifact", config.Value{List: []string{"public/=dist", "a b=c d"}, Line: 13}, true},
		{"simulate", "serve", config.Value{Text: "true", Line: 16}, true},
		{"simulate", "seed", config.Value{Text: "3", Line: 17}, true},
		{"tail", "follow", config.Value{Text: "true", Line: 18}, true},
		{"exec", "state", config.Value{}, false},
		{"exec", "commands", config.Value{}, false},
		{"no such", "follow", config.Value{}, false},
	} {
		got, found := f.Lookup([]string{test.command}, test.flag)
		if found != test.found || found && cmp.Diff(test.want, got) != "" {
			t.Errorf("%s --%s: got %+v %t", test.command, test.flag, got, found)
		}
	}
}

func TestEmpty(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "{}"} {
		if _, err := config.Parse("", []byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestErrors(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"unknown key":           {"queue: http://q/v1\ncommands:\n  exec:\n    gracee: 3s\n", `a.yaml:4:5: commands.exec.gracee: unknown key (perhaps "grace" was meant)`},
		"unknown key at top":    {"\nque: http://q/v1", `a.yaml:2:1: que: unknown key (perhaps "queue" was meant)`},
		"far from any key":      {"something: 1", "a.yaml:1:1: something: unknown key"},
		"a time":                {"grace: 30", `a.yaml:1:8: grace: want a time such as "30s" or "1h30m", got "30"`},
		"a size":                {"log-limit: lots", `a.yaml:1:12: log-limit: want a size such as "1GiB" or "500MB", got "lots"`},
		"one of a few":          {"log-level: loud", `a.yaml:1:12: log-level: want "debug", "info", "warn" or "error", got "loud"`},
		"a list":                {"exclude: x", `a.yaml:1:10: exclude: want an array, got "x"`},
		"an item":               {"exclude:\n- a\n- [b]", `a.yaml:3:3: exclude.1: want a string, got an array`},
		"a number":              {"commands: {tail: {lines: many}}", `a.yaml:1:26: commands.tail.lines: want an integer of at least 0, got "many"`},
		"no plain number":       {"commands: {tail: {lines: 0x10}}", `a.yaml:1:26: commands.tail.lines: want an integer of at least 0, got "0x10"`},
		"a section":             {"commands:\n  exec:\n", `a.yaml:2:3: commands.exec: want an object, got null`},
		"no mapping":            {"- a", `a.yaml:1:1: want an object, got an array`},
		"twice":                 {"queue: a\nqueue: b", `a.yaml:2:1:`},
		"an anchor":             {"queue: &q http://q", `a.yaml:1:8: anchors, aliases and tags have no place in a configuration`},
		"a tag":                 {"queue: !!str http://q", `a.yaml:1:8: anchors, aliases and tags have no place in a configuration`},
		"two documents":         {"grace: 1s\n---\ngrace: 2s", `a configuration is one document`},
		"broken":                {"queue: [a\n", `a.yaml:1:8:`},
		"a tab":                 {"commands:\n\texec: 1", `a.yaml:2:1:`},
		"not text":              {"queue: \xff", `want UTF-8 text`},
		"a secret in the value": {"exclude: https://me:hunter2@q.example.com/v1", `a.yaml:1:10: exclude: want an array, got "https://q.example.com/v1?<redacted>"`},
		"too large":             {strings.Repeat("#", config.MaxBytes+1), `are no configuration`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse("a.yaml", []byte(test.text))
			var e *config.Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
	_, err := config.Parse("a.yaml", []byte("grace: 1\nqueu: x\ngzip: 7\n"))
	if err == nil || strings.Count(err.Error(), "\n") != 2 || !strings.HasPrefix(err.Error(), "a.yaml:1:") {
		t.Errorf("not all problems in their order: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{good, "a: &x b", "{", "- - -", "? a\n: b", "a: |\n  x\n", "%YAML 1.2\n---\n", "<<: {a: 1}", "!!binary x", "a: 'b", "a:\n- b\n c"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := config.Parse("f", data)
		if (file == nil) == (err == nil) {
			t.Fatal(file, err)
		}
		if err != nil && err.Error() == "" {
			t.Fatal("an error that says nothing")
		}
	})
}
