package main

import (
	"encoding/json"
	"flag"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/schema"
)

var update = flag.Bool("update", false, "write the golden files anew")

// object is what the schema of an object says of its members.
type object struct {
	Type       string            `json:"type"`
	Items      *object           `json:"items"`
	Properties map[string]object `json:"properties"`
}

func configSchema(t *testing.T) object {
	t.Helper()
	text, err := schema.JSONSchema("config")
	if err != nil {
		t.Fatal(err)
	}
	var s object
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// typeOf is how a flag's value is written in the configuration.
func typeOf(t *testing.T, f cli.Flag) string {
	switch f.(type) {
	case *cli.StringFlag, *cli.DurationFlag, *cli.GenericFlag:
		return "string"
	case *cli.StringSliceFlag:
		return "array"
	case *cli.BoolFlag:
		return "boolean"
	case *cli.IntFlag, *cli.Int64Flag, *cli.Uint64Flag:
		return "integer"
	}
	t.Errorf("--%s is a %T: say in partsOf and here how the configuration has it", f.Names()[0], f)
	return ""
}

// Every flag can be given in the configuration file, and there is nothing in it that is no flag.
func TestConfigurationIsTheFlags(t *testing.T) {
	root := configSchema(t)
	shared := map[string][]string{} // of each flag the types that it has, once for each command
	eachCommand(newApp(nil, io.Discard, io.Discard), func(path []string, cmd *cli.Command) {
		if len(path) == 0 || path[0] == "config" {
			return // what names the file, or shows it, has no place in it
		}
		section, name := root.Properties["commands"], strings.Join(path, ".")
		for _, step := range path {
			section = section.Properties[step]
		}
		known := map[string]string{}
		for member, s := range section.Properties {
			if cmd.Command(member) == nil {
				known[member] = s.Type
			}
		}
		flags := map[string]string{}
		for _, f := range cmd.Flags {
			of := typeOf(t, f)
			flags[f.Names()[0]] = of
			shared[f.Names()[0]] = append(shared[f.Names()[0]], of)
		}
		if diff := cmp.Diff(flags, known); diff != "" {
			t.Errorf("schema.Config, commands.%s: -flags +configuration:\n%s", name, diff)
		}
	})
	for name := range root.Properties["commands"].Properties {
		if newApp(nil, io.Discard, io.Discard).Command(name) == nil {
			t.Errorf("schema.Config has the command %s, which there is not", name)
		}
	}
	for name, s := range root.Properties {
		types := shared[name]
		if name != "commands" && (len(types) < 2 || slices.ContainsFunc(types, func(of string) bool { return of != s.Type })) {
			t.Errorf("schema.Config has %s for all commands, as %s; there are flags of that name of types %q", name, s.Type, types)
		}
	}
}

// Every flag has its environment variable, and sources that can be told apart.
func TestEveryFlagHasItsSources(t *testing.T) {
	eachCommand(newApp(nil, io.Discard, io.Discard), func(path []string, cmd *cli.Command) {
		for _, f := range cmd.Flags {
			want := "UPLOAD_AGENT_" + strings.ToUpper(strings.ReplaceAll(f.Names()[0], "-", "_"))
			if got := f.(cli.DocGenerationFlag).GetEnvVars(); !slices.Equal(got, []string{want}) {
				t.Errorf("%v --%s: environment %q", path, f.Names()[0], got)
			}
			if partsOf(f).sources == nil {
				t.Errorf("%v --%s: a type of flag that no file can set", path, f.Names()[0])
			}
		}
	})
}

// The manual is what the help says. A change of it is one of the command line.
func TestManual(t *testing.T) {
	var page strings.Builder
	if err := writeManual(&page, newApp(nil, io.Discard, io.Discard)); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/upload-agent.1"
	got := strings.ReplaceAll(page.String(), roffInside(userStateDir), "STATE") // it differs between systems
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (run with -update if this is meant): -want +got:\n%s", golden, diff)
	}
	for line := range strings.Lines(got) {
		if strings.HasPrefix(line, "'") {
			t.Errorf("a line that is a request: %s", line)
		}
	}
	groff, err := exec.LookPath("groff")
	if err != nil {
		const missing = "NO GROFF ON THIS MACHINE: whether the manual is well-formed is not tested. Install it: apt-get install groff-base"
		if os.Getenv("UPLOAD_AGENT_REQUIRE_REAL") == "1" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	check := exec.Command(groff, "-man", "-ww", "-Tutf8", "-z")
	check.Stdin = strings.NewReader(page.String())
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("groff: %v\n%s", err, out)
	}
}

// In a real bash, without its package of completions.
func TestCompletionInBash(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("NO BASH ON THIS MACHINE: its completion is not tested")
	}
	dir := t.TempDir()
	program, err := os.Executable() // TestMain makes it the program itself, when it is called by this name
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, dir+"/upload-agent"); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ words, want string }{
		"a command":            {`upload-agent res`, "resume"},
		"an option":            {`upload-agent exec --work`, "--worker-group --worker-id"},
		"after other options":  {`upload-agent exec --queue "http://a b" --worker-i`, "--worker-id"},
		"a command's argument": {`upload-agent schema task-cl`, "task-claim-request task-claim-response"},
		"a shell":              {`upload-agent completion z`, "zsh"},
		"behind a value":       {`upload-agent exec --queue ht`, ""},
		"the task's command":   {`upload-agent exec -- --w`, ""},
		"nothing of it":        {`upload-agent exec -- ""`, ""},
		"nothing is evaluated": {`upload-agent exec '$(touch evaluated)' --work`, "--worker-group --worker-id"},
	} {
		t.Run(name, func(t *testing.T) {
			script := `set -u; source <(upload-agent completion bash); COMP_WORDS=(` + test.words + `); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
				_upload_agent upload-agent; echo "${COMPREPLY[*]-}"; complete -p upload-agent >/dev/null`
			cmd := exec.Command(bash, "--norc", "-c", script)
			cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), "PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			if got := strings.TrimSuffix(string(out), "\n"); err != nil || got != test.want {
				t.Errorf("%s: got %q, %v; want %q", test.words, got, err, test.want)
			}
			if left, _ := os.ReadDir(cmd.Dir); len(left) > 0 {
				t.Error("what was typed was evaluated")
			}
		})
	}
}
