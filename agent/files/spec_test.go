package files_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskcluster/upload-agent/agent/files"
	"github.com/taskcluster/upload-agent/schema"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]files.Spec{
		"a=b":                    {Name: "a", Path: "b"},
		"a/b=./c//d/../e":        {Name: "a/b", Path: "c/e"},
		"a=b=c":                  {Name: "a", Path: "b=c"},
		"a=*":                    {Name: "a", Path: "*"},
		"a=/abs/b":               {Name: "a", Folder: "/abs", Path: "b"},
		"a=../b/c":               {Name: "a", Folder: "../b", Path: "c"},
		"a=b/../../c":            {Name: "a", Folder: "..", Path: "c"},
		"a=/":                    {Name: "a", Folder: "/", Path: "/"},
		"out":                    {Path: "out", Glob: "**"},
		"out/":                   {Path: "out", Glob: "**"},
		"./out//deep":            {Path: "out/deep", Glob: "**"},
		".":                      {Glob: "**"},
		"**":                     {Glob: "**"},
		"*.txt":                  {Glob: "*.txt"},
		"./*.txt":                {Glob: "*.txt"},
		"out/**/*.txt":           {Path: "out", Glob: "**/*.txt"},
		"out/*/":                 {Path: "out", Glob: "*/**"},
		"a/b[cd]/e/*":            {Path: "a", Glob: "b[cd]/e/*"},
		"{a,b/c}/d":              {Glob: "{a,b/c}/d"},
		`a\*b/c?`:                {Path: "a*b", Glob: "c?"},
		`a\*b`:                   {Path: "a*b", Glob: "**"},
		"public/=dist":           {Name: "public", Path: "dist", Glob: "**"},
		"public/x/=./dist/":      {Name: "public/x", Path: "dist", Glob: "**"},
		"public/=.":              {Name: "public", Glob: "**"},
		"public/=dist/**/*.html": {Name: "public", Path: "dist", Glob: "**/*.html"},
		"public/=*.html":         {Name: "public", Glob: "*.html"},
		"public/=/abs/dist":      {Name: "public", Folder: "/abs/dist", Glob: "**"},
		"public/=/abs/d*/x":      {Name: "public", Folder: "/abs", Glob: "d*/x"},
		"public/=../dist":        {Name: "public", Folder: "../dist", Glob: "**"},
		"public/=a/../../dist/*": {Name: "public", Folder: "../dist", Glob: "*"},
		"public/=/":              {Name: "public", Folder: "/", Glob: "**"},
		"public/=a=b":            {Name: "public", Path: "a=b", Glob: "**"},
	} {
		want.Folder = filepath.FromSlash(want.Folder)
		if got, err := files.Parse(text); err != nil || got != want {
			t.Errorf("%q is %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":            "empty",
		"a=":          "no path",
		"a/=":         "no path",
		"=a":          "is empty",
		"/=a":         "is empty",
		"/a=b":        "starts with a slash",
		"a//=b":       "empty segment",
		"../a=b":      `".."`,
		"../a/=b":     `".."`,
		"./a=b":       `"."`,
		"a\n=b":       "control character",
		"a\xff=b":     "UTF-8",
		`a\b=c`:       "backslash",
		"[a":          "not a glob",
		"{a":          "not a glob",
		`a\`:          "not a glob",
		"public/=[a":  "not a glob",
		"/abs":        "absolute",
		"/abs/*":      "absolute",
		"../a":        "..",
		"a/../b":      "..",
		"*/../b":      "..",
		"p/=*/../../": "..",
		"p/=*/../x":   "..",
		strings.Repeat("n", schema.MaxNameBytes+1) + "=x": "1025 bytes",
	} {
		if got, err := files.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is %+v, %v; want an error with %q", text, got, err, want)
		}
	}
}

func TestParseExclude(t *testing.T) {
	for text, want := range map[string]string{
		"": "empty", "[a": "not a glob", "/a": "slash", "../a": "..", "a/../b": "..",
	} {
		if _, err := files.ParseExclude(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", text, err, want)
		}
	}
}

// Whatever a spec is, it names nothing that leads out of its folder, and a name that an artifact can have.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"a=b", "a/=b", "out/**/*.txt", "a=/x/../..", "p/=../../x*", `\*/..`, "{a,../b}/c", "a/=//", "=", "a=.", "a=..", "./"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := files.Parse(text)
		if err != nil {
			return
		}
		if s.Name != "" && schema.ArtifactName(s.Name) != nil {
			t.Errorf("%q has the name %q", text, s.Name)
		}
		if s.Name == "" && s.Glob == "" {
			t.Errorf("%q is %+v: neither a file nor a glob", text, s)
		}
		if s.Path != "" && !filepath.IsLocal(filepath.FromSlash(s.Path)) && s.Path != "/" && s.Path != ".." {
			t.Errorf("%q leads to %q", text, s.Path)
		}
		for part := range strings.SplitSeq(s.Glob, "/") {
			if part == ".." {
				t.Errorf("%q has the glob %q", text, s.Glob)
			}
		}
		if strings.Contains(text, "=") && s.Name == "" || !strings.Contains(text, "=") && s.Folder != "" {
			t.Errorf("%q is %+v", text, s)
		}
	})
}
