package ops

import (
	"strings"

	"github.com/taskcluster/upload-agent/upload"
)

// reasons are the kinds of why an artifact is missing, and the words by which a reason is known to be of that kind: those
// of package upload, which every error of an upload has in it. The first that fits counts, and what makes an upload fail
// counts more than that its time was over.
var reasons = [...]struct {
	label string
	kind  error
}{
	{"changed", upload.ErrChanged},
	{"denied", upload.ErrDenied},
	{"digest", upload.ErrDigest},
	{"expired", upload.ErrExpired},
	{"not_regular", upload.ErrNotRegular},
	{"proxy", upload.ErrProxy},
	{"redirected", upload.ErrRedirected},
	{"rejected", upload.ErrRejected},
	{"source", upload.ErrSource},
	{"stalled", upload.ErrStalled},
	{"unavailable", upload.ErrUnavailable},
	{"grant", upload.ErrGrant},
	{"link", upload.ErrLink},
	{"gave_up", upload.ErrGaveUp},
	{"other", nil},
}

// reasonOf is the index of a reason's kind.
func reasonOf(text string) int {
	for i, r := range reasons {
		if r.kind == nil || strings.Contains(text, r.kind.Error()) {
			return i
		}
	}
	return len(reasons) - 1
}
