package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"unicode/utf8"
)

// A line is a record as JSON whose last member is the checksum of all that stands before it:
//
//	{"n":1,"at":"2026-01-02T15:04:05Z","step":"log added","log":"terminal.log","crc":"0a1b2c3d"}
const checksumSize = len(`,"crc":"0a1b2c3d"}`)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendChecksum appends the end of a line whose members are those in front, without the closing brace.
func appendChecksum(line, front []byte) []byte {
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], crc32.Checksum(front, castagnoli))
	line = hex.AppendEncode(append(line, `,"crc":"`...), sum[:])
	return append(line, `"}`...)
}

// appendLine appends a record as a line, with its newline. After an error lines is as it was.
func appendLine(lines []byte, r Record) ([]byte, error) {
	from := len(lines)
	all, ok := appendHot(lines, r)
	if !ok {
		object, err := json.Marshal(r)
		if err != nil {
			return lines, err
		}
		all = append(lines, object...)
	}
	all = all[:len(all)-1] // the closing brace
	return append(appendChecksum(all, all[from:]), '\n'), nil
}

// intact reports whether a line, without its newline, has the right checksum.
func intact(line []byte) bool {
	front := len(line) - checksumSize
	return front >= 0 && bytes.Equal(line[front:], appendChecksum(make([]byte, 0, checksumSize), line[:front]))
}

// asIs says of a record that it comes out of its line as it went in. Those that are one of thousands in a run
// do: reading them again costs as much as writing them.
func (r Record) asIs() bool {
	var texts [4]string
	switch {
	case r.Step == ArtifactAdded, r.Step == ArtifactReplaced:
		texts = [4]string{r.Artifact.Name, r.Artifact.ContentType, r.Artifact.Path}
	case r.Step == ArtifactStored:
		texts = [4]string{r.Receipt.Name, r.Receipt.URL, string(r.Receipt.Digest), r.Receipt.ETag}
	default:
		return false
	}
	return r.At == r.At.UTC().Round(0) && !slices.ContainsFunc(texts[:], func(s string) bool { return !utf8.ValidString(s) })
}

// reread reads a line that appendLine has just written. It is cheaper than decode.
func reread(line []byte) (Record, error) {
	var r Record
	err := json.Unmarshal(line, &r) // Record knows no checksum: it is skipped
	return r, err
}

// decode reads an intact line.
func decode(line []byte) (Record, error) {
	var r Record
	text := append(bytes.Clone(line[:len(line)-checksumSize]), '}')
	if !utf8.Valid(text) {
		return r, errors.New("it is not valid UTF-8")
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("it is no record: %w", err)
	}
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if strict.Decode(&Record{}) != nil {
		return r, errors.New("it has a member that is unknown here; a newer version of the agent may have written it")
	}
	if _, ok := ruleOf(r.Step); !ok {
		return r, fmt.Errorf("its step %q is unknown here; a newer version of the agent may have written it", string(r.Step))
	}
	return r, nil
}

// replayed is what the bytes of a journal amount to.
type replayed struct {
	state  State
	number int64 // of the last record
	size   int64 // of the whole lines; what is behind them was torn when it was written
}

// replay reads a journal. An error is ErrEmpty or a *DamagedError without its path.
func replay(data []byte) (replayed, error) {
	var p replayed
	for p.size < int64(len(data)) {
		line, rest, ended := bytes.Cut(data[p.size:], []byte("\n"))
		if !ended || !intact(line) && torn(rest) {
			break
		}
		number := p.number + 1
		damaged := func(reason string) (replayed, error) {
			return replayed{}, &DamagedError{Line: number, Reason: reason}
		}
		if !intact(line) {
			return damaged("its checksum is wrong, and good lines follow it")
		}
		r, err := decode(line)
		if err != nil {
			return damaged(err.Error())
		}
		if r.Number != number {
			return damaged(fmt.Sprintf("its number is %d", r.Number))
		}
		if err := p.state.Apply(r); err != nil {
			return damaged(err.Error())
		}
		p.number = number
		p.size += int64(len(line)) + 1
	}
	if p.number == 0 {
		return replayed{}, ErrEmpty
	}
	return p, nil
}

// torn reports whether a bad line that data follows is where a write was torn: no good line comes after it.
// That it need not be the last is because the garbage that a torn write leaves may hold newlines.
func torn(data []byte) bool {
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		if intact(line) {
			return false
		}
	}
	return true
}
