package livelog

import (
	"context"
	"fmt"
	"io"
)

// Object is something to store under a name, replacing what is there.
type Object struct {
	Name            string            // "terminal.log", "live/terminal.log/index.json", "live/terminal.log/0-20000.gz"
	ContentType     string            // to be stored with it
	ContentEncoding string            // "" or "gzip": how Body is encoded
	Body            *io.SectionReader // of known size, and can be read again from its start
}

// Store stores o under its name and gives the URL where readers find it. It retries by
// itself, for as long as that makes sense; it returns soon after ctx ends. It is never called twice
// at once by the same [Publish].
type Store func(ctx context.Context, o Object) (url string, err error)

const (
	textType  = "text/plain; charset=utf-8"
	indexType = "application/json"
)

// IndexName is the name of the object that holds the index of a log: "live/NAME/index.json".
func IndexName(log string) string { return "live/" + log + "/index.json" }

// chunkName tells which bytes of the log the chunk holds and how they are encoded, so that storing it twice is harmless.
func chunkName(log string, s span, encoding string) string {
	name := fmt.Sprintf("live/%s/%d-%d", log, s.offset, s.size)
	if encoding == gzipped {
		name += ".gz"
	}
	return name
}
