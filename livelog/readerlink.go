package livelog

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// openLink asks a Handler for the log, from offset on once reading has begun.
func (r *TextReader) openLink() error {
	address, err := r.address()
	if err != nil {
		return r.failed(err)
	}
	resp, err := r.getter.get(r.ctx, address, http.Header{"Accept-Encoding": {identity}})
	if err != nil {
		return r.retry(err, true)
	}
	opened := false
	defer func() {
		if !opened {
			resp.Body.Close() // unread: there may be nothing to read for a long time
		}
	}()
	at, err := strconv.ParseInt(resp.Header.Get(offsetHeader), 10, 64)
	switch {
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && !r.begun:
		r.begun, r.end = true, r.offset // the log does not get that long
		return nil
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		return r.failed(fmt.Errorf("%w: it has lost bytes that were read", ErrChanged))
	case resp.StatusCode != http.StatusOK:
		return r.refused(statusError(resp.StatusCode))
	case err != nil || at < 0 || r.begun && at != r.offset:
		return r.retry(errors.New("the answer does not begin where it should"), true)
	}
	if r.offset = at; resp.ContentLength >= 0 && (r.end < 0 || !r.o.Once) {
		r.end = at + resp.ContentLength // the log has ended, or all that there is now was asked for
	}
	r.begun, r.wrong = true, 0
	// Where neither a length nor the protocol says where a body ends, a torn connection looks like its end.
	r.whole = resp.ProtoAtLeast(2, 0) || len(resp.TransferEncoding) > 0
	r.sealed = resp.Header.Get(completeHeader) == "true"
	r.body, r.opened, r.from, opened = resp.Body, time.Now(), at, true
	return nil
}

// address is the link with what it has to say of how to read.
func (r *TextReader) address() (string, error) {
	u, err := url.Parse(r.url)
	if err != nil {
		return "", ErrURL
	}
	query := u.Query()
	from := func(parameter string, n int64) {
		query.Del(offsetParameter)
		query.Del(linesParameter)
		query.Set(parameter, strconv.FormatInt(n, 10))
	}
	switch {
	case r.begun:
		from(offsetParameter, r.offset)
	case r.o.LastLines != 0:
		from(linesParameter, int64(max(r.o.LastLines, 0)))
	case r.o.Offset > 0:
		from(offsetParameter, r.o.Offset)
	}
	query.Del(followParameter)
	if !r.o.Once {
		query.Set(followParameter, "1")
	}
	u.RawQuery = query.Encode()
	return u.String(), nil
}
