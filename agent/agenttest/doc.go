// Package agenttest runs a task queue and an object storage in one process, on loopback.
// It is to a worker and its agent what net/http/httptest is to an HTTP client:
//
//	srv, err := agenttest.New(t.TempDir(), agenttest.Options{})
//	defer srv.Close()
//	claim, err := srv.PostAndClaim(schema.Worker{})
//
// From there everything is real HTTP: the claim holds signed URLs, the queue takes reclaims,
// hands out artifact URLs and is told of completed runs, and readers find the task storage
// below [Server.StorageURL]. What is stored lies on disk as DIR/<taskId>/runs/<runId>/....
//
// The queue is the well-behaved one that the documents promise: runs count from 0, a claim's answer
// holds the status after the claim, only the owner of a run may reclaim or complete it, and a claim
// that is not renewed in time is taken away. A run completed twice answers 404 the second time, as the
// first queue did. The storage behaves as S3 does with presigned version 4 URLs: signature, expiry and
// content type are verified, errors are XML, ranges and conditional requests are answered.
//
// With Options.Quirks2014 the queue is the first one, of April 2014, instead. Its mistakes, as they were recorded:
//
//   - Runs count from 1. The first claim uses up a retry; a task with retries: 0 answers 500 to each call after its claim.
//   - The status in the answer to a claim, and in the running message, is the one from before it; if another task was claimed between the arrival of
//     the request and its answer, the answer has that task's. The answer to claim-work has the right one.
//   - Whoever asks may reclaim and complete any run of a running task, and store artifacts of any run of any task.
//   - A name that has to be escaped makes a request for artifact URLs fail with 500. The others go into the artifact's public URL as
//     they are: with a "?", "#" or "%41" it answers 404.
//   - A run counts as running for 15 s after takenUntil (for half of a claim that is shorter than 30 s).
//   - To claim an unknown task, or to name a malformed one, is a 500; a body that is no JSON is refused in plain text.
//
// As it does in any case: a run completed twice is a 404 and an unknown call one in HTML, a failed task has no resolution.json, and the URLs
// of artifacts are good for 20 minutes unless Options.ArtifactURLLife says otherwise. Its storage wanted Options.Signature "v2", which is apart, as
// are the grants in parts that it did not know.
//
// Both misbehave on cue: a [FaultPlan], parsed from a line such as "put=503:0.3,any=reset:0.1" or made
// with [Server.Inject], answers errors, resets connections, stalls, redirects and loses answers.
// The same seed and the same order of requests give the same faults.
//
// The server watches the one promise of the protocol: [Server.Violations] lists every run that was
// reported completed before its result.json, its logs.json and the artifacts it names were stored, or
// after it had ended for its worker, and everything that changed afterwards. [Server.Requests] is the history of all requests.
//
// Promises: an object is stored whole or not at all, and replaced atomically; memory does not depend on
// the size of an object; objects survive a restart on the same folder; no name escapes the folder;
// an event is published only after the change it tells of can be read; no signed URL is ever logged.
// All times come from package time (or from Options.Clock), so a server whose listeners are in memory works under testing/synctest.
//
// With Options.MultipartFrom the queue grants large artifacts in parts too, and [Server.BucketAccess] gives temporary credentials
// for S3's own API. Parts behave as S3's do: ETags, the order and the least size of the parts, a completion that answers 200 and then an error
// ("complete=late"), one that is repeated. What a run leaves unfinished is thrown away when the run ends; see [Server.Uploads].
//
// To readers the storage may answer through redirects (Options.Redirects: over hosts, ports and TLS, and [Server.Hops] is every request whole),
// out of a stale cache (Options.Cache), and let objects expire (Options.Lifecycle).
//
// # In a bucket
//
// With Options.Bucket tasks and artifacts live in a bucket of a real S3 server, Amazon's or another that speaks its language, and nothing in a folder.
// What is granted is signed by the SDK for that server, and workers store their objects right there; only the server verifies. Readers still
// come to [Server.StorageURL], and are redirected (307) to a URL of the bucket that is good for five minutes: nothing in the bucket need be public, and who
// can reach the address can read what lies below the prefix. A fault that would have to hit a PUT, or what concerns an object in parts, is refused with a
// [*FaultError]; "any" hits the queue and the readers. [Server.Requests] has no PUTs, [Server.BucketAccess] gives nothing, and Options.Clock does not
// move the server's. [Server.Violations] looks into the bucket: at each report, and for what has changed since when it is called.
//
// # Events
//
// Events are given in process ([Server.Events], [Server.EventsAfter]) and, to other processes, as a stream of server-sent events at
// [Server.EventsURL], which is no part of the protocol and is never hit by a fault. Package [github.com/taskcluster/upload-agent/agent/agenttest/amqp]
// publishes them to a RabbitMQ. All events are kept in memory, as all requests are.
//
// Not simulated: the state of the queue and of unfinished uploads across restarts, and listings.
package agenttest
