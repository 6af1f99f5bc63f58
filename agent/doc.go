// Package agent takes one run of one task from its claim to "completed".
//
// A worker that has claimed a task gives the claim to [Start] and gets a [Run].
// What the task prints goes to [Run.Log], what it leaves to [Run.AddArtifact],
// and [Run.Complete] ends it. Meanwhile the agent
//
//   - stores logs.json at once, in the background,
//   - publishes the logs while they grow,
//   - uploads artifacts while the task still runs, a bounded number at once,
//   - keeps the claim: reclaims it early, and renews signed URLs as they expire,
//   - stores result.json, and only then reports the run completed.
//
// # Promises
//
//   - Order: no run is reported completed unless its logs.json and result.json are stored.
//   - Truth: result.json names exactly the artifacts whose bytes are stored; the others
//     are listed with their reasons in its result.missingArtifacts. When the storage has said how long it keeps an artifact,
//     result.artifactsExpire says until when, so that readers can tell later what has expired.
//   - Bytes: a reader of a log sees what was written to it, less the secrets, in order, without a gap or a repeat. Where bytes had to be
//     given up, for [Options].LogLimit or a full disk, a line in the log says how many, and result.json lists the log in its
//     result.incompleteLogs ([livelog.Quota]). A log that cannot say so, because an fsync has failed, counts as missing.
//   - Time: writing to a log and adding an artifact never wait for the network.
//   - Secrets: a signed URL shows up in no error, log line or file of this package, and what [Run.Redact] was told in
//     no log of the run, whether it is published or on the disk. Artifacts and the outcome are stored as the worker gives them.
//
// An [Observer] is told what happens. With [Options].ReadBack an artifact counts as stored only once it was read where readers find it.
//
// Where readers can reach the worker, a [Stream] serves the logs as they are written.
//
// When the claim is lost (the queue has given the run to somebody else, or could
// not be reached before the claim lapsed), the run's context ends with a
// [ClaimLostError] as its cause, uploads stop, and nothing is reported.
//
// # When the process dies
//
// A run keeps a journal in its state folder, see [Options].StateDir. After a kill, or a power cut, [Resume] takes
// the run up where it stood: the claim is renewed if the queue still knows it, logs go on without a gap or
// a repeat, what is stored is not stored again, and result.json keeps the bytes that it had. What the worker had
// not yet said is not made up: a run without an outcome is closed, and the queue gives its task to another worker.
// Only what the redactor held at that moment, the beginning of a secret perhaps, is not in the log: see [livelog.RedactingWriter].
//
// This holds on filesystems that do not show a file longer than what was written to it after a
// power cut: ext4 (in its default mode), XFS, Btrfs, APFS.
//
// # Limits
//
// The package runs no commands: the worker does. Artifacts are single signed PUTs, so at most 5 GiB each on S3.
// A disk that cannot keep the journal ends the run ([StateError]): nobody could resume what it would do.
package agent
