package agent

import (
	"fmt"
	"strings"
)

// ArtifactOptions of one artifact. The zero value works.
type ArtifactOptions struct {
	// ContentType is what the artifact is served as. Default: told from the ending of its name, or of its
	// file's if that has none that is known, and from its first 64 KiB; the same on every machine. Text that is valid UTF-8 is said to be so.
	ContentType string

	// Gzip stores the artifact gzipped, with Content-Encoding: gzip, where that saves a tenth; the receipt
	// is of the bytes that are stored. Browsers undo it, but a plain client gets those bytes. It needs room for a copy next to the
	// run's state; where there is none, the artifact is stored as it is. Default: stored as it is.
	Gzip bool

	// Replace takes the place of an artifact that was added before under the same name, whatever has become of that: it is
	// uploaded after it, and the run's result knows no other. While it is not stored, the artifact is not, and if it
	// cannot be, the artifact is missing, for nobody knows then which bytes are stored; but if the file was gone before it could
	// be read, the artifact stays as it was. Where there is none of the name, it is added. Default: a name that is taken is an error.
	Replace bool

	// CacheControl and ContentDisposition are the headers of these names that readers get. Default: none.
	CacheControl, ContentDisposition string
}

// check is what no request could carry.
func (o ArtifactOptions) check() error {
	for _, h := range [...]struct{ name, value string }{
		{"content type", o.ContentType}, {"cache control", o.CacheControl}, {"content disposition", o.ContentDisposition},
	} {
		if strings.ContainsFunc(h.value, func(r rune) bool { return r < ' ' || r > '~' }) {
			return fmt.Errorf("%s %q: want printable ASCII", h.name, h.value)
		}
	}
	return nil
}
