package livelog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/taskcluster/upload-agent/schema"
)

// The encodings of a chunk, and of an object.
const (
	identity = "identity"
	gzipped  = "gzip"
)

// maxTail is the most that an index may hold inline.
const maxTail = 16 << 10

// maxIndex is the largest index that is read, compressed or not.
const maxIndex = schema.MaxBytes

// newIndex describes the log up to the end of its tail.
func newIndex(chunks []schema.Chunk, tailSpan span, tail []byte, complete bool, poll time.Duration) schema.LogIndex {
	x := schema.LogIndex{
		Version:  schema.Version,
		Size:     tailSpan.end(),
		Complete: complete,
		Chunks:   append([]schema.Chunk{}, chunks...),
		Tail:     append([]byte{}, tail...),
	}
	if !complete {
		x.PollAfterMs = int((poll + time.Millisecond - 1) / time.Millisecond)
	}
	return x
}

// checkChunks says why an index of a log of size bytes cannot begin with chunks.
func checkChunks(chunks []schema.Chunk, size int64) error {
	c := chunker{chunks: chunks}
	if c.covered() > size {
		return fmt.Errorf("they end at byte %d, the log at %d", c.covered(), size)
	}
	for _, chunk := range chunks {
		if err := checkURL(chunk.URL); err != nil {
			return err
		}
	}
	_, err := schema.Encode(newIndex(chunks, c.tail(c.covered()), nil, true, 0)) // the schema knows the rest
	return err
}

// encodeIndex gives the bytes to store and their Content-Encoding: gzip when that is smaller.
func encodeIndex(x schema.LogIndex) (data []byte, encoding string, err error) {
	data, err = schema.Encode(x)
	if err != nil {
		return nil, "", fmt.Errorf("encode index: %w", err)
	}
	packed, err := compress(section(data), int64(len(data)/4), int64(len(data)-1))
	switch {
	case errors.Is(err, errLarge):
		return data, "", nil
	case err != nil:
		return nil, "", fmt.Errorf("encode index: %w", err)
	}
	return packed, gzipped, nil
}

// readIndex reads an index, compressed or not. The schema has it that chunks follow each
// other from offset 0 and, with the tail, make up the size.
func readIndex(r io.Reader) (schema.LogIndex, error) {
	data, err := readBounded(r)
	if err != nil {
		return schema.LogIndex{}, fmt.Errorf("read index: %w", err)
	}
	// JSON never begins like this. The header is no help: a proxy may have decoded the body and left it.
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err == nil {
			data, err = readBounded(z)
		}
		if err != nil {
			return schema.LogIndex{}, fmt.Errorf("%w: decompress: %w", ErrIndex, err)
		}
	}
	x, err := schema.DecodeLenient[schema.LogIndex]("index.json", data)
	if err != nil {
		return x, fmt.Errorf("%w: %w", ErrIndex, err)
	}
	return x, nil
}

func readBounded(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxIndex+1))
	if err == nil && len(data) > maxIndex {
		err = fmt.Errorf("%w: larger than %d bytes", ErrIndex, maxIndex)
	}
	return data, err
}

// checkURL never repeats the URL: it may hold a signature.
func checkURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return ErrURL
	}
	return nil
}
