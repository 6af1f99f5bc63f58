// Package livelog lets people read a log while it is being written, with nothing but
// plain object storage between the writer and them.
//
// The writer writes to a [Spool], a file on the local disk. [Publish] ships what is new in
// the spool to the storage: as immutable chunks and one small index that is replaced at
// each flush and carries the newest bytes inline, so that a flush is a single PUT. A
// [Reader] follows the index. For those who have only a browser, the log's own name holds
// its text: replaced each time the log has doubled, and once more, whole, when it ends.
//
// Where readers can reach the worker, a [Handler] serves the spool itself over HTTP, as it grows, to whoever has
// one of its [Links]. A [TextReader] follows that, and reads stored texts.
//
// It promises:
//
//   - Write waits for the local disk and for nothing else: not for the storage, and not for any reader.
//   - A reader gets the bytes of the log in order, each exactly once, whatever fails. It follows redirects, but not from https to http, and
//     is not fooled by a cache that holds an old index: it goes round it, or ends with [ErrStale].
//   - No [Reader] sees a byte that a power cut could still take back: each flush syncs the
//     spool first. So the next process can go on with the same file, see [Open], [NewSpool]
//     and [PublishOptions].Chunks, and readers do not notice.
//   - Memory does not grow with the size of the log: what it takes is the 16 MiB, at most, of a compressed chunk.
//   - An index names a chunk only after the chunk is stored, and is complete only after
//     the whole text is stored.
//
// A [Quota] before the spool bounds the log, and says in the log itself what is missing: because of the limit, or because the disk was full.
//
// It does not sign URLs, talk to a queue or choose a storage: the caller gives a [Store].
// The bytes written to the spool are the bytes readers see: a [Redactor] goes before it, so that nothing secret
// reaches the disk.
//
// # Speed
//
// On a machine with two cores, which readers and writer share (go test -run '^$' -bench Handler -benchtime 3x ./livelog; of the latency,
// -benchtime 500x):
//
//	writing 64 KiB at a time       4.5 GB/s; a file 3.7, cat > file 1.5 GB/s; 10 readers get 4.4 GB/s together, 100 of them 4.9
//	writing lines of 128 bytes     1.2 million a second; 1.1 with a reader or ten, 0.34 with 100
//	a line, written to read        p50 0.13 ms, p99 0.29 ms with a reader, 1.0 and 1.9 ms with 100; a bare socket each 0.09, 0.24, 0.89 and 1.8 ms
//	a reader that reads nothing    the writer is as fast as without it (1.05, median of five pairs)
//	a log of 1 GiB, published      29 MiB of memory (TestLargeLog); what an hour of a log costs prints TestCostOfAnHour
//
// Of the time with 100 readers, the system's write takes most: it is 10 µs or so a line and reader.
//
// # Chunks
//
// A chunk is stored when the tail is full, and takes what has gathered: 16 KiB from a quiet log, megabytes from a fast one. So that
// an index stays small, and who comes late makes few requests, small neighbours become larger chunks. Chunks have ranks:
// with the default tail they begin at 16 KiB, 256 KiB, 4 MiB and 64 MiB. A new chunk takes along, from
// the spool, the chunks before it from the first one on that comes to a higher rank by that, and takes their place in the index.
// The old ones stay where they are, for readers with an older index.
//
// So there are at most 15 chunks of each rank but the highest, and an index of a log up to 1 GiB names at most 60; and as no byte is
// stored twice at one rank, all chunks together hold at most four times the log, before compression. Beyond 1 GiB there is one chunk
// more for each 64 MiB, at least, and no more passes: an index of 10 GiB names at most 205.
//
// Compared with others, for a log of up to a week and up to 1 GiB (chunks in the index, PUTs, bytes as a multiple of the log;
// TestPolicies prints more):
//
//	                                 1 KB/s             100 KB/s           10 MB/s       2 MB each minute, 1 KB/s between
//	ours                             52  35576  3.8     44  10738  3.5     20  108  1.8     29  2085  2.6
//	no merging                    35576  35576  1.0  10738  10738  1.0    108  108  1.0   2085  2085  1.0
//	sixteen of a rank, apart         53  37945  3.9     47  11452  3.7     21  114  1.9   2085  2085  1.0
//	two of about a size, apart       17  71139 13.4     18  21461 11.3     15  201  4.1     20  4152  7.3
//
// Sixteen neighbours of one rank, stored apart, cost more requests and bytes than a merger that is one with the storing of what is new, and small chunks
// between large ones are never merged. Pairs make the shortest index, which nobody needs, for three times the bytes. Ours
// has its price: who follows may get new bytes as the end of a larger chunk. Of a plain one only that end is asked for;
// a compressed one is read from its start.
//
// Chunks are gzipped where that saves a quarter at least, fits into 16 MiB of memory, and has taken no more than a tenth of the time,
// on one processor, but for the first second of it. The text under the log's own name is always plain.
//
// # Rhythm
//
// The first bytes are flushed at once. While output flows, the index is replaced once a second in the first hour of the log, and
// then less often by a second for each hour, down to every ten seconds; never faster than the storage answers, and not at all
// without output. A [Reader] finds that beat. So at one line every 10 ms, 99 of 100 lines are visible within 2.5 s in every minute of
// the first hour, to readers of a storage that takes 0.1 s for an answer (p50 0.8 s, p99 1.4 to 1.9 s in TestReaderLatency).
//
// An hour of that costs, as TestCostOfAnHour has it, for a log that gzip makes a sixth of:
//
//	               requests  chunks  indexes  MB of chunks    of indexes  of texts
//	  1 KB/s           3656     214     3428           1.2           8.6       9.0
//	100 KB/s           6780    3384     3387           209           1.3       382
//	 10 MB/s           6637    3251     3285         10900           1.0     36000
//
// and each reader asks for the index some 5300 times an hour while output flows, and 1800 times while it does not; many answers
// are a 304 without a body. [NewForecast] computes it for other logs.
package livelog
