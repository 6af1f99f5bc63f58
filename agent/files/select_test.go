package files_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/agent/files"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// folder makes files whose bytes are their paths, and links ("name -> target"), in a new working folder.
func folder(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range names {
		name, target, link := strings.Cut(name, " -> ")
		err := os.MkdirAll(filepath.Dir(name), 0o700)
		switch {
		case err != nil:
		case link:
			err = os.Symlink(target, name)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(name, 0o700)
		default:
			err = os.WriteFile(name, []byte(name), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func parse(t *testing.T, texts string) []files.Spec {
	t.Helper()
	var specs []files.Spec
	for text := range strings.FieldsSeq(texts) {
		spec, err := files.Parse(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		specs = append(specs, spec)
	}
	return specs
}

// describe says what was selected: names, with what is read where that is not the name, and problems with their reasons.
func describe(t *testing.T, found []files.File, problems []files.Problem) (artifacts, missing string) {
	t.Helper()
	var names, reasons []string
	for _, f := range found {
		var b strings.Builder
		size, _, err := f.Source.CopyTo(&b)
		if err == nil && size != f.Size {
			t.Errorf("%s has %d bytes, and was found with %d", f.Name, size, f.Size)
		}
		switch {
		case err != nil:
			names = append(names, fmt.Sprintf("%s: %v", f.Name, err))
		case b.String() != f.Name:
			names = append(names, f.Name+"="+b.String())
		default:
			names = append(names, f.Name)
		}
		if err := schema.ArtifactName(f.Name); err != nil {
			t.Error(err)
		}
	}
	for _, p := range problems {
		reasons = append(reasons, fmt.Sprintf("%s: %v", p.Name, p.Err))
	}
	return strings.Join(names, " "), strings.Join(reasons, "; ")
}

func TestSelect(t *testing.T) {
	dir := folder(t, "one.txt", "two.log", ".hidden", "in/one.txt", "in/two.log", "in/deep/three.txt", "in/deep/er/four.txt", "in/empty/", "a*b/c", "axb/c", "UP.TXT")
	for _, c := range []struct {
		specs, exclude, want, missing string
	}{
		{"x=one.txt", "", "x=one.txt", ""},
		{"x=./in/../one.txt", "", "x=one.txt", ""},
		{"x=" + dir + "/one.txt", "", "x=one.txt", ""},
		{"x=../" + filepath.Base(dir) + "/one.txt", "", "x=one.txt", ""},
		{"x=none", "", "", "x: none: no such file or directory"},
		{"x=one.txt/none", "", "", "x: one.txt/none: not a directory"},
		{"x=in", "", "", "x: not a regular file but a folder; use NAME/=FOLDER for all that is in it"},
		{"x=*.txt", "", "", "x: *.txt: no such file or directory"},
		{"*.txt", "", "one.txt", ""},
		{"*", "", ".hidden UP.TXT one.txt two.log", ""},
		{"one.txt", "", "one.txt", ""},
		{"one.txt/", "", "one.txt", ""},
		{"one.txt/*", "", "", "one.txt/*: one.txt: not a directory"},
		{"in/*", "", "in/one.txt in/two.log", ""},
		{"in", "", "in/deep/er/four.txt in/deep/three.txt in/one.txt in/two.log", ""},
		{"./in/", "", "in/deep/er/four.txt in/deep/three.txt in/one.txt in/two.log", ""},
		{"in/**", "", "in/deep/er/four.txt in/deep/three.txt in/one.txt in/two.log", ""},
		{"in/**/*.txt", "", "in/deep/er/four.txt in/deep/three.txt in/one.txt", ""},
		{"**/deep/*", "", "in/deep/three.txt", ""},
		{"i*/", "", "in/deep/er/four.txt in/deep/three.txt in/one.txt in/two.log", ""},
		{"{one,in/two}.*", "", "in/two.log one.txt", ""},
		{"[ot]*", "", "one.txt two.log", ""},
		{`a\*b/*`, "", "a*b/c", ""},
		{`a\*b`, "", "a*b/c", ""},
		{"a*b/c", "", "a*b/c axb/c", ""},
		{".", "in/,a*b", ".hidden UP.TXT one.txt two.log", ""},
		{"none", "", "", "none: no file matches"},
		{"none/**/*.x in/empty", "", "", "none/**/*.x: no file matches; in/empty: no file matches"},
		{"p/=in", "", "p/deep/er/four.txt=in/deep/er/four.txt p/deep/three.txt=in/deep/three.txt p/one.txt=in/one.txt p/two.log=in/two.log", ""},
		{"p/=in/**/*.log", "", "p/two.log=in/two.log", ""},
		{"p/=*.txt", "", "p/one.txt=one.txt", ""},
		{"p/=one.txt", "", "p/one.txt=one.txt", ""},
		{"p/=" + dir + "/in/deep", "", "p/er/four.txt=in/deep/er/four.txt p/three.txt=in/deep/three.txt", ""},
		{"p/=" + dir + "/none/*", "", "", "p/*: open folder: no such file or directory"},
		{"p/=" + dir + "/one.txt", "", "", "p: open folder: not a directory"},
		// Exclusions.
		{"in", "*.log", "in/deep/er/four.txt in/deep/three.txt in/one.txt", ""},
		{"in", "deep", "in/one.txt in/two.log", ""},
		{"in", "deep/", "in/one.txt in/two.log", ""},
		{"in", "one.txt/", "in/deep/er/four.txt in/deep/three.txt in/one.txt in/two.log", ""},
		{"in", "in/deep/*/", "in/deep/three.txt in/one.txt in/two.log", ""},
		{"in", "./in/deep/**,*.log", "in/one.txt", ""},
		{"in", "deep/er", "in/deep/er/four.txt in/deep/three.txt in/one.txt in/two.log", ""}, // a path begins at the folder that is searched
		{"in", "**/er/", "in/deep/three.txt in/one.txt in/two.log", ""},
		{"in x=in/two.log", "*", "x=in/two.log", "in: no file matches"},
		{"p/=" + dir + "/in", "deep/er/*,two.*", "p/deep/three.txt=in/deep/three.txt p/one.txt=in/one.txt", ""},
		// Several specs.
		{"in/* in/one.txt in/one.txt=in/one.txt", "", "in/one.txt in/two.log", ""},
		{"in/*.txt in/one.txt=one.txt", "", "in/one.txt=one.txt", `in/one.txt=in/one.txt: artifact "in/one.txt": name is taken by another file`},
		{"in/one.txt in/one.txt=none", "", "", `in/one.txt: none: no such file or directory; in/one.txt=in/one.txt: artifact "in/one.txt": name is taken by another file`},
	} {
		var o files.Options
		for text := range strings.FieldsFuncSeq(c.exclude, func(r rune) bool { return r == ',' }) {
			exclude, err := files.ParseExclude(text)
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			o.Exclude = append(o.Exclude, exclude)
		}
		found, problems := files.Select(parse(t, c.specs), o)
		got, missing := describe(t, found, problems)
		if got != c.want || missing != c.missing {
			t.Errorf("%s, without %q:\n got %s; missing %s\nwant %s; missing %s", c.specs, c.exclude, got, missing, c.want, c.missing)
		}
	}
}

func TestSelectDoesNotLookWhereNothingCanBe(t *testing.T) {
	names := []string{"a.txt", "in/b.txt"}
	for i := range 50 {
		names = append(names, fmt.Sprintf("modules/%d/x.txt", i))
	}
	folder(t, names...)
	for spec, want := range map[string]string{"*.txt": "a.txt", "in/*": "in/b.txt", "i?/*.txt": "in/b.txt", "{in,on}/*.txt": "in/b.txt", "[ij]n/*": "in/b.txt"} {
		found, problems := files.Select(parse(t, spec), files.Options{MaxEntries: 10})
		if got, missing := describe(t, found, problems); got != want || missing != "" {
			t.Errorf("%s: got %s; missing %s", spec, got, missing)
		}
	}
}

func TestSelectAndLinks(t *testing.T) {
	dir := folder(t, "secret", "work/plain", "work/d/file", "work/inside -> plain", "work/folded -> d", "work/out -> ../secret",
		"work/away -> ..", "work/etc -> /etc/passwd", "work/nowhere -> none", "work/self -> self", "work/d/up -> ..", "work/d/here -> .")
	t.Chdir("work")
	const refused = "away: a link that is not followed: away leads out of the folder; etc: a link that is not followed: etc leads out of the folder; " +
		"nowhere: a link that is not followed: nowhere leads nowhere; out: a link that is not followed: out leads out of the folder; " +
		"self: the source cannot be read: openat self: too many levels of symbolic links"
	found, problems := files.Select(parse(t, "**"), files.Options{})
	got, missing := describe(t, found, problems)
	if want := "d/file=work/d/file folded/file=work/d/file inside=work/plain plain=work/plain"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if missing != refused {
		t.Errorf("missing:\n%s\nwant\n%s", missing, refused)
	}
	if strings.Contains(missing, dir) {
		t.Errorf("%s shows where the folder is", missing)
	}

	found, problems = files.Select(parse(t, "** x=inside"), files.Options{Symlinks: upload.SymlinksSkip})
	got, missing = describe(t, found, problems)
	if got != "d/file=work/d/file plain=work/plain x: a link that is not followed: inside is a symbolic link" || missing != "" {
		t.Errorf("without links: got %s; missing %s", got, missing)
	}

	found, problems = files.Select(parse(t, "out x=etc"), files.Options{Symlinks: upload.SymlinksFollow})
	if got, missing = describe(t, found, problems); !strings.HasPrefix(got, "out=secret x=") || missing != "" {
		t.Errorf("with links: got %s; missing %s", got, missing)
	}

	var noLinks files.Options
	for _, text := range []string{"away", "etc", "nowhere", "self", "d/out", "folded/"} {
		exclude, err := files.ParseExclude(text)
		if err != nil {
			t.Fatal(err)
		}
		noLinks.Exclude = append(noLinks.Exclude, exclude)
	}
	found, problems = files.Select(parse(t, "**"), noLinks)
	if got, missing = describe(t, found, problems); got != "d/file=work/d/file inside=work/plain plain=work/plain" || !strings.HasPrefix(missing, "out: ") {
		t.Errorf("excluded: got %s; missing %s", got, missing)
	}

	// What no pattern can mean is no problem.
	found, problems = files.Select(parse(t, "*.txt plain"), files.Options{})
	if got, missing = describe(t, found, problems); got != "plain=work/plain" || missing != "*.txt: no file matches" {
		t.Errorf("got %s; missing %s", got, missing)
	}
}

// A few folders with links to each other are a tree without an end.
func TestSelectEndsInAnyTangle(t *testing.T) {
	var names []string
	for i := range 12 {
		names = append(names, fmt.Sprintf("d%d/file", i))
		for j := range 12 {
			names = append(names, fmt.Sprintf("d%d/l%d -> ../d%d", i, j, j))
		}
	}
	folder(t, names...)
	found, problems := files.Select(parse(t, "**"), files.Options{MaxEntries: 5000})
	if len(found) == 0 || len(problems) == 0 || len(problems) > 1001 || problems[len(problems)-1].Name != "and more" {
		t.Errorf("%d files, %d problems", len(found), len(problems))
	}
	found, problems = files.Select(parse(t, "d0/file d1"), files.Options{MaxEntries: 30})
	if len(found) == 0 || len(problems) != 1 || !errors.Is(problems[0].Err, files.ErrTooMany) {
		t.Errorf("%d files, problems %v", len(found), problems)
	}

	folder(t, "file")
	deep := strings.Repeat("d", 200)
	root, err := os.OpenRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	name := deep
	for range 8 { // longer than any name, and than many a path
		if err := root.MkdirAll(name, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := root.WriteFile(name+"/f", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		name += "/" + deep
	}
	found, problems = files.Select(parse(t, "**"), files.Options{})
	var bad *schema.NameError
	if len(found) != 6 || len(problems) != 1 || !errors.As(problems[0].Err, &bad) {
		t.Errorf("%d files, problems %v; want 6 and one of a name that is too long", len(found), problems)
	}
}

func TestSelectTenThousandFiles(t *testing.T) {
	var names []string
	for i := range 10_000 {
		names = append(names, fmt.Sprintf("out/%02d/%d.txt", i%50, i))
	}
	folder(t, names...)
	found, problems := files.Select(parse(t, "out/**/*.txt"), files.Options{})
	if len(found) != len(names) || len(problems) != 0 {
		t.Errorf("found %d files, problems %v", len(found), problems)
	}
	if head, err := found[9_999].Source.Head(100); string(head) != found[9_999].Name || err != nil {
		t.Errorf("the last one reads %q, %v", head, err)
	}
}

// A file that is gone, or another kind of thing, by the time it is read is an error then.
func TestFileIsGoneWhenItIsRead(t *testing.T) {
	folder(t, "a", "b", "c", "d")
	found, problems := files.Select(parse(t, "*"), files.Options{})
	if len(found) != 4 || len(problems) != 0 {
		t.Fatal(found, problems)
	}
	for _, err := range []error{os.Remove("a"), os.Remove("b"), os.Mkdir("b", 0o700), os.Remove("c"), os.Symlink("/etc/passwd", "c"), os.WriteFile("d", []byte("longer"), 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []error{fs.ErrNotExist, upload.ErrNotRegular, upload.ErrLink, nil} {
		if _, err := found[i].Source.Head(1); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", found[i].Name, err, want)
		}
	}
}

// A folder of somebody else's is searched by its own name, wherever one is.
func TestSelectInAFolder(t *testing.T) {
	dir := folder(t, "artifacts/public/a", "artifacts/b", "secret")
	t.Chdir(t.TempDir())
	found, problems := files.Select([]files.Spec{{Folder: filepath.Join(dir, "artifacts"), Glob: "**"}, {Folder: dir, Name: "x", Path: "artifacts/b"}}, files.Options{})
	var got []string
	for _, f := range found {
		got = append(got, f.Name)
	}
	if diff := cmp.Diff([]string{"b", "public/a", "x"}, got); diff != "" || len(problems) != 0 {
		t.Errorf("%s%v", diff, problems)
	}
}

func FuzzSelect(f *testing.F) {
	dir := f.TempDir()
	for name, text := range map[string]string{"secret": "secret", "work/a": "a", "work/d/b": "b"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)); err != nil {
			f.Fatal(err)
		}
	}
	for name, target := range map[string]string{"out": "../secret", "up": "..", "d/loop": "..", "in": "d/b"} {
		if err := os.Symlink(target, filepath.Join(dir, "work", name)); err != nil {
			f.Fatal(err)
		}
	}
	for _, seed := range []string{"**", "up/**", "d/loop/*", "{a,out}", "x=out", "p/=up", "../*", "[", `\*`, "d/../../secret"} {
		f.Add(seed, "a")
	}
	f.Add("**", "{d,a}/")
	f.Fuzz(func(t *testing.T, text, exclude string) {
		spec, err := files.Parse(text)
		if err != nil || spec.Folder != "" {
			return
		}
		spec.Folder = filepath.Join(dir, "work")
		var o files.Options
		if e, err := files.ParseExclude(exclude); err == nil {
			o.Exclude = append(o.Exclude, e)
		}
		found, problems := files.Select([]files.Spec{spec}, o)
		if len(found)+len(problems) == 0 {
			t.Errorf("%q: neither a file nor a problem", text)
		}
		for _, file := range found {
			if head, err := file.Source.Head(10); err != nil || string(head) != "a" && string(head) != "b" {
				t.Errorf("%q: %s reads %q, %v", text, file.Name, head, err)
			}
			if err := schema.ArtifactName(file.Name); err != nil {
				t.Error(err)
			}
		}
		for _, p := range problems {
			if strings.Contains(p.Name+p.Err.Error(), dir) {
				t.Errorf("%q: problem %s: %v shows the folder", text, p.Name, p.Err)
			}
		}
	})
}
