package upload

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/minio/crc64nvme"

	"github.com/taskcluster/upload-agent/schema"
)

// shownWithin is how long a storage may take to show what it has stored: some show the object that was there before, or none, for a while.
const shownWithin = 30 * time.Second

// lookEvery is the longest pause before another look, give or take a half.
const lookEvery = 5 * time.Second

var (
	errNoReadURL = errors.New("it does not say where readers find the object, which is to be read back")
	errNoWhere   = errors.New("a redirect that does not say where to")
	errNoRights  = errors.New("reading it there needs rights that we do not have")
)

// readBack looks whether readers find what the receipt says. It is a Put of nothing that GETs: with the same
// redirects, pauses and watchdog.
func (c *Client) readBack(p *put, r Receipt) *Error {
	back := readingBack{want: r}
	look := c.newPut(p.ctx, Grant{URL: schema.NewSignedURL(r.URL)},
		task{step: step{what: stepGet}, read: back.read, judge: back.judge},
		PutOptions{Name: r.Name, GiveUpAfter: p.options.GiveUpAfter})
	if encoding := p.options.ContentEncoding; encoding != "" {
		look.grant.Header = http.Header{"Accept-Encoding": {encoding}} // or some storages would undo it
	}
	pauses := c.options
	pauses.MinBackoff, pauses.MaxBackoff = min(pauses.MinBackoff, lookEvery), min(pauses.MaxBackoff, lookEvery)
	look.pace = newPace(p.ctx, pauses, look.noLaterThan)
	look.content, look.told = nothing, told{teller: p.told.teller, other: true}
	e := look.run()
	if e == nil {
		return nil
	}
	switch {
	case e.Kind == nil || e.Kind == ErrReadBack:
	case e.Err == nil:
		e.Kind, e.Err = ErrReadBack, e.Kind
	default:
		e.Kind, e.Err = ErrReadBack, fmt.Errorf("%w: %w", e.Kind, e.Err)
	}
	e.Attempts, e.Renewals = e.Attempts+r.Attempts, r.Renewals
	return e
}

// readingBack compares what is read with what was sent.
type readingBack struct {
	want  Receipt
	size  int64
	sum   Digest
	since time.Time // when it was not there, or not the same, for the first time
}

// read takes an object, but no more of it than tells that it is another one.
func (b *readingBack) read(body io.Reader) (err error) {
	h := crc64nvme.New()
	b.size, err = io.CopyBuffer(struct{ io.Writer }{h}, io.LimitReader(body, b.want.Size+1), make([]byte, 64<<10))
	b.sum = digestOf(h)
	return err
}

func (b *readingBack) judge(a answer, v verdict, _ error, _ Digest) (verdict, error, error) {
	err := b.compare()
	switch a.status {
	case http.StatusOK:
		if err == nil {
			return stored, nil, nil
		}
	case http.StatusUnauthorized, http.StatusForbidden:
		return stop, ErrReadBack, errNoRights
	case http.StatusNotFound, http.StatusGone:
		err = nil
	default:
		if a.status/100 == 3 {
			return stop, ErrReadBack, errNoWhere
		}
		if v != stored {
			return v, ErrReadBack, nil
		}
		err = errors.New("answered without the object")
	}
	if b.since.IsZero() {
		b.since = time.Now()
	}
	if time.Since(b.since) >= shownWithin {
		return stop, ErrReadBack, err
	}
	return retry, ErrReadBack, err
}

// compare says how what was read differs.
func (b *readingBack) compare() error {
	switch {
	case b.size > b.want.Size:
		return fmt.Errorf("sent %d bytes, read more", b.want.Size)
	case b.size < b.want.Size:
		return fmt.Errorf("sent %d bytes, read %d", b.want.Size, b.size)
	case b.sum != b.want.Digest:
		return fmt.Errorf("sent %s, read %s", b.want.Digest, b.sum)
	}
	return nil
}
