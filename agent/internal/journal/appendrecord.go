package journal

import (
	"strconv"
	"time"
)

// appendHot appends the JSON of a record of which a run may have tens of thousands, as json.Marshal would write it, which takes five times
// as long. It is false of other records, and of those with a text that has to be escaped.
func appendHot(line []byte, r Record) ([]byte, bool) {
	w := hotWriter{line: line}
	w.line = strconv.AppendInt(append(w.line, `{"n":`...), r.Number, 10)
	if year := r.At.Year(); year < 1000 || year > 9999 || r.At.Location() != time.UTC {
		return line, false
	}
	w.line = r.At.AppendFormat(append(w.line, `,"at":"`...), time.RFC3339Nano)
	w.line = append(w.line, '"')
	w.text(`,"step":`, string(r.Step))
	switch a, stored := r.Artifact, r.Receipt; r.Step {
	case ArtifactAdded, ArtifactReplaced:
		w.text(`,"artifact":{"name":`, a.Name)
		w.optional(`,"contentType":`, a.ContentType)
		w.flag(`,"gzip":true`, a.Gzip)
		w.optional(`,"cacheControl":`, a.CacheControl)
		w.optional(`,"contentDisposition":`, a.ContentDisposition)
		w.optional(`,"path":`, a.Path)
		w.optional(`,"folder":`, a.Folder)
		w.optional(`,"symlinks":`, string(a.Symlinks))
		w.flag(`,"hardLinks":true`, a.HardLinks)
	case ArtifactStored:
		w.text(`,"receipt":{"name":`, stored.Name)
		w.optional(`,"url":`, stored.URL)
		w.number(`,"size":`, stored.Size)
		w.text(`,"digest":`, string(stored.Digest))
		w.optional(`,"etag":`, stored.ETag)
		w.number(`,"attempts":`, int64(stored.Attempts))
	default:
		return line, false
	}
	if w.odd {
		return line, false
	}
	return append(w.line, '}', '}'), true
}

// hotWriter writes members of JSON objects.
type hotWriter struct {
	line []byte
	odd  bool // there was a text that has to be escaped in more than its quotes
}

func (w *hotWriter) text(member, value string) {
	w.line = append(append(w.line, member...), '"')
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c < ' ' || c > '~' || c == '\\' || c == '<' || c == '>' || c == '&':
			w.odd = true
			return
		case c == '"': // as an ETag has
			w.line = append(w.line, '\\', '"')
		default:
			w.line = append(w.line, c)
		}
	}
	w.line = append(w.line, '"')
}

func (w *hotWriter) optional(member, value string) {
	if value != "" {
		w.text(member, value)
	}
}

func (w *hotWriter) flag(member string, is bool) {
	if is {
		w.line = append(w.line, member...)
	}
}

func (w *hotWriter) number(member string, value int64) {
	w.line = strconv.AppendInt(append(w.line, member...), value, 10)
}
