package livelog

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// chunkBody gives what resp holds of a chunk from byte skip on, decoded.
func chunkBody(resp *http.Response, encoding string, skip int64, ranged bool) (io.ReadCloser, error) {
	switch resp.StatusCode {
	case http.StatusOK: // also to a Range that the server does not care for
	case http.StatusPartialContent:
		want := fmt.Sprintf("bytes %d-", skip)
		if got := resp.Header.Get("Content-Range"); !ranged || !strings.HasPrefix(got, want) {
			return nil, fmt.Errorf("the answer is the range %q, want %q", got, want)
		}
		if isGzip(resp.Header) {
			return nil, errors.New("the answer is a part of a compressed chunk")
		}
		return resp.Body, nil
	case http.StatusRequestedRangeNotSatisfiable:
		return nil, fmt.Errorf("%w: %w", ErrShort, statusError(resp.StatusCode))
	default:
		return nil, statusError(resp.StatusCode)
	}
	var plain io.Reader = resp.Body
	if encoding == gzipped || isGzip(resp.Header) {
		b := bufio.NewReader(resp.Body)
		plain = b
		// A proxy may have decoded the body and left the header.
		if magic, _ := b.Peek(2); string(magic) == "\x1f\x8b" {
			z, err := gzip.NewReader(b)
			if err != nil {
				return nil, fmt.Errorf("decompress chunk: %w", err)
			}
			plain = z
		}
	}
	if _, err := io.CopyN(io.Discard, plain, skip); err != nil {
		return nil, fmt.Errorf("skip to byte %d of chunk: %w", skip, shortIfEOF(err))
	}
	return struct {
		io.Reader
		io.Closer
	}{plain, resp.Body}, nil
}

func isGzip(h http.Header) bool { return h.Get("Content-Encoding") == gzipped }

func shortIfEOF(err error) error {
	if err == io.EOF {
		return ErrShort
	}
	return err
}
