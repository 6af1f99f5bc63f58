package upload_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The SDK is an implementation detail, and so is whatever others wrote: nothing that is exported mentions a type of it, and the
// deprecated manager of the SDK is in one file.
func TestTheSDKIsNotInTheAPI(t *testing.T) {
	managers := 0
	for _, dir := range exportedFolders(t) {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", dir, len(files), err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			foreign := map[string]bool{}
			for _, spec := range file.Imports {
				imported, _ := strconv.Unquote(spec.Path.Value)
				if host, _, _ := strings.Cut(imported, "/"); !strings.Contains(host, ".") || strings.HasPrefix(imported, "github.com/taskcluster/upload-agent/") {
					continue
				}
				if strings.HasSuffix(imported, "/manager") {
					managers++
				}
				parts := strings.Split(imported, "/")
				foreign[parts[len(parts)-1]] = true
				foreign[parts[max(0, len(parts)-2)]] = true // of .../rate/v2
				if spec.Name != nil {
					foreign[spec.Name.Name] = true
				}
			}
			for _, name := range mentions(file, foreign) {
				t.Errorf("%s: exported, and mentions %s", path, name)
			}
		}
	}
	if managers != 1 {
		t.Errorf("the manager is imported by %d files, want 1", managers)
	}
}

// exportedFolders are those of the packages that others may import.
func exportedFolders(t *testing.T) (all []string) {
	t.Helper()
	for _, top := range []string{"../upload", "../agent", "../livelog", "../schema"} {
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil || !d.IsDir():
				return err
			case d.Name() == "internal" || d.Name() == "testdata":
				return fs.SkipDir
			}
			if files, _ := filepath.Glob(filepath.Join(path, "*.go")); len(files) > 0 {
				all = append(all, path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// mentions lists what the exported declarations of a file say of foreign packages.
func mentions(file *ast.File, foreign map[string]bool) (all []string) {
	look := func(n ast.Node) {
		ast.Inspect(n, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Field:
				// Unexported fields and methods cannot be reached; what is embedded can.
				return len(n.Names) == 0 || ast.IsExported(n.Names[0].Name) || inSignature[n]
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && foreign[x.Name] {
					all = append(all, x.Name+"."+n.Sel.Name)
				}
			}
			return true
		})
	}
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d.Recv.List[0].Type))) {
				signature(d.Type)
				look(d.Type)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					if s.Name.IsExported() {
						ast.Inspect(s, func(n ast.Node) bool {
							if f, ok := n.(*ast.FuncType); ok {
								signature(f)
							}
							return true
						})
						look(s)
					}
				case *ast.ValueSpec:
					if s.Names[0].IsExported() {
						look(s)
					}
				}
			}
		}
	}
	return all
}

// inSignature are the parameters and results: what they are called does not matter.
var inSignature = map[*ast.Field]bool{}

func signature(f *ast.FuncType) {
	for _, list := range []*ast.FieldList{f.Params, f.Results} {
		if list != nil {
			for _, field := range list.List {
				inSignature[field] = true
			}
		}
	}
}

func receiver(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiver(t.X)
	case *ast.IndexExpr:
		return receiver(t.X)
	case *ast.Ident:
		return t.Name
	}
	return ""
}

// The test above sees what it should.
func TestMentionsAreFound(t *testing.T) {
	for source, want := range map[string]int{
		`func F(c *s3.Client) {}`:                                 1,
		`func f(c *s3.Client) {}`:                                 0,
		`func F() (out s3.Output, err error) { return }`:          1,
		`func F() { s3.New() }`:                                   0,
		`type T struct { C *s3.Client }`:                          1,
		`type T struct { c *s3.Client }`:                          0,
		`type T struct { *s3.Client }`:                            1,
		`type T struct { F func(o s3.Options) }`:                  1,
		`type T interface { Put(c s3.Client) }`:                   1,
		`type t struct{}; func (t) Put(c s3.Client) {}`:           0,
		`type T struct{}; func (*T) Put(c ...s3.Client) {}`:       1,
		`var V = s3.Default`:                                      1,
		`type T = s3.Client`:                                      1,
		`type T[P s3.Client] struct{}; func (t *T[P]) F(s3.X) {}`: 2,
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x; "+source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if got := mentions(file, map[string]bool{"s3": true}); len(got) != want {
			t.Errorf("%s: mentions %v, want %d", source, got, want)
		}
	}
}
