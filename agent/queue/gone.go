package queue

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// ErrGone: it is not there, and it was. ErrExpired: and its time had come, as the storage has said while it was there. What is either is ErrNotFound too.
var (
	ErrGone    = errors.New("gone")
	ErrExpired = errors.New("expired")
)

// GoneError says of what is not found that it was stored once. It is ErrNotFound and ErrGone for errors.Is, and ErrExpired if Expired is set.
type GoneError struct {
	Expired time.Time // when it expired; zero: nobody has said that it would, so it may as well have been deleted
	Known   string    // how we know that it was stored
}

func (e *GoneError) Error() string {
	if !e.Expired.IsZero() {
		return "expired on " + e.Expired.Format(time.RFC3339)
	}
	return "gone: " + e.Known + ", and has expired or was deleted since"
}

// Is tells of which kinds it is.
func (e *GoneError) Is(kind error) bool {
	return kind == ErrNotFound || kind == ErrGone || kind == ErrExpired && !e.Expired.IsZero()
}

// maxRemembered is how many objects a Storage keeps in mind.
const maxRemembered = 10_000

// lives are the objects that were there, and when the storage has said that they will be gone.
type lives struct {
	mu   sync.Mutex
	ends map[string]time.Time // by redacted URL
}

// saw takes down what an answer says of an object, if it says anything.
func (l *lives) saw(url string, h http.Header) {
	end := schema.ParseExpiration(h.Get("X-Amz-Expiration"))
	if end.IsZero() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ends == nil || len(l.ends) >= maxRemembered {
		l.ends = map[string]time.Time{}
	}
	l.ends[schema.Redact(url)] = end
}

// missed is what is known of an object that is not there any more; nil: nothing.
func (l *lives) missed(url string, now time.Time) *GoneError {
	l.mu.Lock()
	defer l.mu.Unlock()
	end, seen := l.ends[schema.Redact(url)]
	if !seen {
		return nil
	}
	return goneBy(end, now, "it was read before")
}

// goneBy is what follows for an object that is not there any more from when it was to expire; zero: nobody has said.
func goneBy(end, now time.Time, known string) *GoneError {
	switch {
	case end.IsZero():
		return &GoneError{Known: known}
	case now.Before(end):
		return &GoneError{Known: known + ", to be kept until " + end.Format(time.RFC3339)}
	}
	return &GoneError{Expired: end, Known: known}
}

// Gone says more of an error that is ErrNotFound, if more is known. object is what of a run was not found: "result.json", "logs.json" or
// "artifacts/<name>"; or "task.json" of the task, whatever the run. The answer is err, or a [*GoneError] in its place:
//
//   - with the time, where result.json says that the artifact expires and the time has passed, or this Storage has seen it while the storage has said so;
//   - without, where it must have been stored: what the resolution of the task or result.json names. Of a storage that answers 403 nothing is
//     concluded from that, as it may just not let us read.
//
// It makes up to two requests; what it cannot find out, it does not claim.
func (s *Storage) Gone(ctx context.Context, id schema.TaskID, run schema.RunID, object string, err error) error {
	if !wantsReason(err) {
		return err
	}
	return withReason(err, s.goneFrom(ctx, id, run, object))
}

// GoneArtifact is Gone for an artifact of a run whose result is at hand. It makes no request.
func (s *Storage) GoneArtifact(result schema.Result, name string, err error) error {
	if !wantsReason(err) {
		return err
	}
	return withReason(err, s.goneArtifact(result, name))
}

func (s *Storage) goneArtifact(result schema.Result, name string) *GoneError {
	if _, named := result.Artifacts[name]; !named {
		return nil
	}
	return goneBy(schema.ExpiresAt(result, name), s.now(), "result.json says that it was stored")
}

// wantsReason says whether more could be said of an error.
func wantsReason(err error) bool {
	var known *GoneError
	return errors.Is(err, ErrNotFound) && (!errors.As(err, &known) || known.Expired.IsZero())
}

// withReason puts what is known in the place of "not found"; nil: nothing.
func withReason(err error, gone *GoneError) error {
	var answer *Error
	if !errors.As(err, &answer) || gone == nil || gone.Expired.IsZero() && answer.Status == http.StatusForbidden {
		return err
	}
	said := *answer
	said.Err = gone
	return &said
}

// goneFrom is what the documents of the task say of an object that is not there; nil: nothing.
func (s *Storage) goneFrom(ctx context.Context, id schema.TaskID, run schema.RunID, object string) *GoneError {
	if name, ok := strings.CutPrefix(object, "artifacts/"); ok {
		result, err := s.Result(ctx, id, run)
		if err != nil {
			return nil
		}
		return s.goneArtifact(result, name)
	}
	resolution, err := s.Resolution(ctx, id)
	switch {
	case err != nil:
		return nil
	case object == "task.json":
		return &GoneError{Known: "the task was resolved, so it was stored"}
	case resolution.RunID != run:
		return nil
	}
	return &GoneError{Known: fmt.Sprintf("run %d was completed, so it was stored", run)}
}

// Now is the time by the storage's clock, as its answers tell it: by that, objects expire.
func (s *Storage) Now() time.Time { return s.now() }

// now is the time by the server's clock.
func (c *caller) now() time.Time { return time.Now().Add(c.skew.estimate()) }
