// Package schema is the documents of the task queue as Go types: what a worker, the queue and the readers of a task's
// results say to each other, with the JSON Schema of each and a strict check.
//
// The documents of the task storage are [Task], [Logs], [Result] and [Resolution]; those of the queue's HTTP API are
// the requests and answers such as [ClaimRequest] and [ClaimAnswer]; those of its events are the four messages such as
// [CompletedMessage]. Their shapes are those of the queue's published schemas, version [Version]. [Claim] (claim.json, how a worker
// hands its claim to an agent), [LogIndex] (a log while it is written), [AgentStatus] (what an agent says of itself) and [Config] (its
// configuration file, which is YAML: see [ValidateValue]) are our own.
//
// What the package promises:
//
//   - [Decode] accepts exactly what the published schema of a document allows ([JSONSchema], generated from the
//     Go type), and says of anything else where it is wrong: file, JSON pointer, line and column, what was wanted and what was
//     found. It reports every member that is wrong, in the order of the document.
//   - What two readers of JSON may understand differently is refused: a member given twice or with other capitals, bytes that are not
//     UTF-8, half a surrogate pair, data after the end, numbers beyond floating point. Integers are written in
//     plain digits: 1.0 and 1e2 are none.
//   - What decodes encodes to an equal document again; [Encode] writes nothing that Decode would refuse.
//   - A signed URL is a password. It lives in a [SignedURL], which prints redacted everywhere; no error of this
//     package shows one, not even a broken one. Only Encode and [SignedURL.Reveal] give it away.
//   - Time and memory grow in step with the size of a document, which is limited to [MaxBytes].
//
// What it does not do: it opens no file and no connection, reads no clock, logs nothing and keeps no state but the compiled
// schemas. [NewTaskID] draws random bytes, and is the only function that depends on anything but its arguments.
// It does not check one document against another, nor a URL beyond its form, and the names of artifacts and logs only
// where it is asked to ([ArtifactName]): a reader has to cope with the names that others chose.
//
// All functions are safe for concurrent use.
package schema
