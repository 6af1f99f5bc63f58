// Package journal writes down what a run has done, so that the run can be taken up after the process or the
// machine has died at any moment.
//
// A journal is the file "journal" in the run's state folder: one JSON object a line, each with the checksum of
// its line. Only lines are added; what they make of the run is its [State].
//
// Promises:
//
//   - What [Journal.Append] has acknowledged, [Open] finds, whatever happens in between: kill -9, a power cut, a full disk.
//     What [Journal.Note] has acknowledged survives kill -9, and a power cut some 100 ms later. What [Journal.Jot] has, survives
//     neither for so long.
//   - A record is there whole or not at all, and so is every record before it.
//   - The journal cannot be made to lie: a step that cannot follow from the earlier ones is refused and not written.
//   - One process at a time writes it.
//   - It holds no signed URL.
//   - After a write or an fsync that failed the journal is dead: fsync is not tried again, because one that
//     works proves nothing then. A full disk alone is survived once, thanks to a reserve put by.
//
// It does not know what to do next, does not touch the spools or the frozen result, and does not mend a file
// that was damaged behind its back: it says where ([DamagedError]).
package journal
