package livelog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
)

// maxPacked is the largest compressed chunk that is held in memory; one that takes more is stored as it is.
const maxPacked = 16 << 20

// compressors are used again and again: a new one takes far more memory than it compresses. The fastest level: on
// logs it is twice as fast as the next but one, for a tenth more bytes.
var compressors = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // fails for unknown levels only
	return &compressor{Writer: z}
}}

type compressor struct {
	*gzip.Writer
	block [32 << 10]byte // of what it compresses
}

// errLarge is why something is not worth to be compressed.
var errLarge = errors.New("it does not get small enough")

// compress gives what r holds, gzipped. It stops with errLarge as soon as that takes more than limit bytes. It is quicker if room
// is what it takes.
func compress(r *io.SectionReader, room, limit int64) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(int(min(room, limit)))
	z := compressors.Get().(*compressor)
	defer func() {
		z.Reset(io.Discard) // or it would keep b
		compressors.Put(z)
	}()
	z.Reset(&limited{&b, limit})
	n, err := io.CopyBuffer(z, r, z.block[:])
	if err == nil {
		err = z.Close()
	}
	if err == nil && n < r.Size() {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return b.Bytes(), nil
}

// limited refuses more than limit bytes.
type limited struct {
	b     *bytes.Buffer
	limit int64
}

func (l *limited) Write(p []byte) (int, error) {
	if int64(l.b.Len()+len(p)) > l.limit {
		return 0, errLarge
	}
	return l.b.Write(p)
}

// packer compresses chunks as long as that pays, and costs little: a tenth of the time that has passed, on one processor,
// but for the first second.
type packer struct {
	start time.Time
	spent time.Duration
	part  float64 // that the latest compressed chunk took of its plain size
}

// pack gives the compressed form of a chunk. It does not where that saves less than a quarter, or costs too much.
func (p *packer) pack(plain *io.SectionReader) (*io.SectionReader, bool) {
	began := time.Now()
	if p.spent > time.Second+began.Sub(p.start)/10 {
		return nil, false
	}
	room := float64(plain.Size()) * p.part * 9 / 8
	packed, err := compress(plain, int64(room), min(plain.Size()/4*3, maxPacked))
	p.spent += time.Since(began)
	if err != nil { // also of the spool: whoever stores the chunk as it is meets it again
		return nil, false
	}
	p.part = float64(len(packed)) / float64(plain.Size())
	return section(packed), true
}

// section reads data.
func section(data []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data)))
}
