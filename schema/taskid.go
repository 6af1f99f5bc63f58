package schema

import (
	"crypto/rand"
	"encoding/base64"
	"net/url"
	"strings"
	"time"
)

// NewTaskID makes up a task id: a random UUID (version 4) as a slug.
// Its first bit is cleared, so that the id never starts with "-" and reads as a flag on a command line.
func NewTaskID() TaskID {
	var uuid [16]byte
	rand.Read(uuid[:]) // never fails: it ends the program instead
	uuid[0] &= 0x7f
	uuid[6] = uuid[6]&0x0f | 0x40
	uuid[8] = uuid[8]&0x3f | 0x80
	return TaskID(base64.RawURLEncoding.EncodeToString(uuid[:]))
}

// Valid reports whether the id has the form of a task id: 22 characters of the URL-safe base64 alphabet.
// That they make up a UUID is not checked.
func (id TaskID) Valid() bool {
	if len(id) != 22 {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// Task is the task that was claimed: TaskID if it is set, else the one in the path of the signed URL
// (".../<taskId>/runs/<runId>/logs.json"), else that of the status, which the first queue
// took from another task at times.
func (c Claim) Task() TaskID {
	if c.TaskID != "" {
		return c.TaskID
	}
	if u, err := url.Parse(c.LogsPutURL.Reveal()); err == nil {
		parts := strings.Split(u.Path, "/")
		if n := len(parts); n >= 4 && parts[n-1] == "logs.json" && parts[n-3] == "runs" {
			if id := TaskID(parts[n-4]); id.Valid() {
				return id
			}
		}
	}
	return c.Status.TaskID
}

// Timestamp is a time as the documents carry it: in UTC, cut to milliseconds.
func Timestamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
