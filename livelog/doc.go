// Package livelog lets people read a log while it is being written, with nothing but
// plain object storage between the writer and them.
//
// The writer writes to a [Spool], a file on the local disk. [Publish] ships what is new in
// the spool to the storage: as immutable chunks and one small index that is replaced at
// each flush and carries the newest bytes inline, so that a flush is a single PUT. A
// [Reader] follows the index. For those who have only a browser, the log's own name holds
// its text: replaced each time the log has doubled, and once more, whole, when it ends.
//
// It promises:
//
//   - Write waits for the local disk and for nothing else.
//   - A reader gets the bytes of the log in order, each exactly once, whatever fails.
//   - No reader sees a byte that a power cut could still take back: each flush syncs the
//     spool first. So the next process can go on with the same file, see [Open], [NewSpool]
//     and [PublishOptions].Chunks, and readers do not notice.
//   - Memory does not grow with the size of the log or of a chunk.
//   - An index names a chunk only after the chunk is stored, and is complete only after
//     the whole text is stored.
//
// It does not sign URLs, talk to a queue or choose a storage: the caller gives a [Store].
// It does not redact: the bytes written to the spool are the bytes readers see.
//
// Limit: small chunks are not merged into larger ones, so the index grows with the life of
// a busy log. There is at most one chunk for each flush, each of more than
// [PublishOptions].TailSize bytes, and one for each MaxChunk bytes. With the defaults that
// is about 200 chunks in the first ten minutes and 360 in each hour after them: a log that
// is busy for a day has an index of about 9,000 chunks: 1.5 MB, some 50 kB once gzipped.
package livelog
