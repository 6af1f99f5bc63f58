package schema

import (
	"fmt"
	"math"
	"strconv"
)

// LogIndex is the index of a live log: a log of immutable chunks, and its newest bytes inline.
type LogIndex struct {
	Version     string  `json:"version" jsonschema_description:"Version of the format of this document."`
	Size        int64   `json:"size" jsonschema:"minimum=0" jsonschema_description:"Size of the log so far, in bytes: that of all chunks and of the tail."`
	Complete    bool    `json:"complete" jsonschema_description:"Whether the log has ended."`
	PollAfterMs int     `json:"pollAfterMs" jsonschema:"minimum=0" jsonschema_description:"How long to wait before looking again, in milliseconds; more than 0 until the log has ended."`
	Chunks      []Chunk `json:"chunks" jsonschema_description:"Stored parts of the log: in order, without a gap, from offset 0."`
	Tail        []byte  `json:"tail" jsonschema:"maxLength=21848" jsonschema_description:"Bytes of the log after the last chunk, in base64; at most 16 KiB before that."`
}

// Chunk is one stored part of a log.
type Chunk struct {
	Offset   int64  `json:"offset" jsonschema:"minimum=0" jsonschema_description:"Where in the log the chunk starts, in bytes."`
	Size     int64  `json:"size" jsonschema:"minimum=1" jsonschema_description:"How many bytes of the log the chunk holds."`
	URL      string `json:"url" jsonschema:"format=uri" jsonschema_description:"Where the chunk is read."`
	Encoding string `json:"encoding" jsonschema:"enum=identity,enum=gzip" jsonschema_description:"How the chunk is stored."`
}

// maxTail is how many bytes the tail of an index may hold.
const maxTail = 16 << 10

// checkLogIndex checks what a schema cannot: that the chunks and the tail make up the log, without a gap.
func checkLogIndex(doc Document) []fault {
	index := doc.(LogIndex)
	var faults []fault
	wrong := func(expected string, found int64, path ...string) {
		faults = append(faults, fault{path: path, pos: -1, expected: expected, found: strconv.FormatInt(found, 10)})
	}
	end := int64(0)
	for i, c := range index.Chunks {
		at := strconv.Itoa(i)
		if c.Offset != end {
			wrong(fmt.Sprintf("%d, where the chunk before it ends", end), c.Offset, "chunks", at, "offset")
		}
		if c.Size > math.MaxInt64-maxTail-c.Offset {
			wrong("a chunk that ends before 8 EiB", c.Size, "chunks", at, "size")
			return faults
		}
		end = c.Offset + c.Size
	}
	if size := end + int64(len(index.Tail)); len(faults) == 0 && index.Size != size {
		wrong(fmt.Sprintf("%d, the size of all chunks and of the tail", size), index.Size, "size")
	}
	if len(index.Tail) > maxTail {
		wrong(fmt.Sprintf("at most %d bytes in base64", maxTail), int64(len(index.Tail)), "tail")
	}
	if index.PollAfterMs == 0 && !index.Complete {
		wrong("more than 0 as long as the log has not ended", 0, "pollAfterMs")
	}
	return faults
}
