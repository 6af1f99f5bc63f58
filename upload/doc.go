// Package upload stores one object where a grant allows, and proves it.
//
// A [Grant] is the permission to store one object: a signed URL and the headers that were signed with it, or the signed
// URLs of an upload in parts ([Multipart]), or temporary credentials for a bucket ([Bucket]).
// A [Source] is a body of known size that can be sent again from its start.
// [Client.Put] sends the one to the other until the storage has it, and returns a [Receipt] with the digest
// of exactly the bytes that were sent.
//
// # Promises
//
//   - A nil error means that the storage has answered 2xx to a PUT of every byte of the source (and has put the parts together),
//     that the source did not change meanwhile, and that a CRC-64/NVME the storage returns equals ours; of a part
//     for which it returns none, the MD5 that is its ETag.
//   - What is worth another try is tried again, with growing pauses and Retry-After honoured;
//     an expired or refused grant is renewed; whatever else is wrong ends the Put at once with an [*Error].
//   - With PutOptions.ReadBack, readers find these very bytes where the grant says.
//   - An upload that moves is never cut, however slow; one on which nothing moves for
//     Options.StallTimeout is given up and started over on a new connection.
//   - An upload in parts that fails leaves none behind, unless the storage cannot be reached for that either: then the log says so.
//   - A signed URL is a password, and so are credentials: they appear in no error and in no log line.
//   - The source of a [Place] reads nothing outside of its folder, whatever links are there or are put there meanwhile.
//   - A file costs about what a bare PUT of it costs, its digest included. Memory does not depend on the size.
//
// # What it does not do
//
// No streams of unknown length, no limit on how many uploads run at once (but one on the bytes per second: [Limiter]), no compression,
// no content types of its own: the grant says all of it. A PUT may store the object more than once
// (when an answer is lost); the bytes are the same each time. An upload in parts is not taken up again by another process: it is
// started anew, and the parts of one whose process was killed are for the storage's rules, or whoever signs, to throw away.
package upload
