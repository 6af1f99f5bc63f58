package files_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/taskcluster/upload-agent/agent/files"
)

func ExampleSelect() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for name, text := range map[string]string{"index.html": "<html></html>", "draft.tmp": "", "deep/page.html": "<html></html>"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			log.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			log.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "users.html")); err != nil {
		log.Fatal(err)
	}

	spec, err := files.Parse("public/=" + dir)
	if err != nil {
		log.Fatal(err)
	}
	drafts, err := files.ParseExclude("*.tmp")
	if err != nil {
		log.Fatal(err)
	}
	found, problems := files.Select([]files.Spec{spec}, files.Options{Exclude: []files.Exclude{drafts}})
	for _, f := range found {
		fmt.Println(f.Name, f.Size) // run.AddArtifact(f.Name, f.Source, agent.ArtifactOptions{})
	}
	for _, p := range problems {
		fmt.Println(p.Name, "is missing:", p.Err) // run.AddMissing(p.Name, p.Err.Error())
	}
	// Output:
	// public/deep/page.html 13
	// public/index.html 13
	// public/users.html is missing: a link that is not followed: users.html leads out of the folder
}
