package journal_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/internal/journal"
	"github.com/taskcluster/upload-agent/upload"
)

// Records of which there are thousands are written by hand: exactly as encoding/json would.
func TestLinesAreThoseOfEncodingJSON(t *testing.T) {
	d := newDisk(1)
	j := create(t, d)
	random := rand.New(rand.NewPCG(3, 4))
	texts := []string{"", "a", "public/build.log", "with space", `"quoted"`, `back\slash`, "<html>&", "tab\t", "ünï", "\u2028", "\x7f"}
	text := func() string { return texts[random.IntN(len(texts))] + texts[random.IntN(len(texts))] }
	want := [][]byte{}
	for i := range 500 {
		name := "public/" + text() + string(rune('a'+i%26)) + time.Duration(i).String()
		at := start.Add(time.Duration(random.Int64N(int64(time.Hour))) * time.Duration(random.IntN(2)))
		r := journal.Record{At: at, Step: journal.ArtifactAdded, Artifact: &journal.Artifact{
			Name: name, ContentType: text(), Gzip: random.IntN(2) == 0, CacheControl: text(), ContentDisposition: text(),
			Path: text(), Folder: text(), Symlinks: upload.Symlinks(text()), HardLinks: random.IntN(2) == 0,
		}}
		stored := journal.Record{At: at, Step: journal.ArtifactStored, Receipt: &journal.Receipt{
			Name: name, URL: text(), Size: random.Int64(), Digest: upload.Digest(text()), ETag: text(), Attempts: random.IntN(3),
		}}
		for _, r := range []journal.Record{r, stored} {
			if err := j.Jot(r); err != nil {
				t.Fatal(err)
			}
			r.Number = int64(len(want) + 2)
			line, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, line[:len(line)-1])
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(d.Files()[path], []byte("\n"))[1:] // behind the claim
	for i, line := range want {
		if !bytes.HasPrefix(lines[i], append(line, `,"crc":"`...)) {
			t.Errorf("wrote %s, want %s and a checksum", lines[i], line)
		}
	}
	if _, err := journal.Read(d, stateDir); err != nil {
		t.Error(err)
	}
}
