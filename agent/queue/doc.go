// Package queue is a client for the queue's HTTP API and for the task storage that readers see.
//
// [Client] makes the calls of a worker (claim, reclaim, artifact URLs, completed) and of whoever posts tasks.
// [Storage] reads what the queue and the workers left: task.json, logs.json, result.json, resolution.json,
// logs and artifacts. Storing objects is the business of package upload.
//
// What every method promises:
//
//   - It waits out trouble. A connection that breaks or stays silent, 5xx, 408, 425 and 429 are tried again with
//     jittered exponential backoff, honouring Retry-After, until ctx ends. There is no other limit: give ctx a deadline.
//     The error then is an [*Error] about the last attempt, and errors.Is finds the context's cause in it.
//   - Every other answer ends the call at once with an [*Error] that says what was asked and what came back.
//   - An answer is validated against its schema; unknown members are accepted, for queues that have grown.
//     A 200 that is not the document asked for (a proxy's login page) is tried again a few times, then it is an error.
//   - No error and no log line contains a signed URL. Bodies that decoded are never echoed; what a failed answer says
//     is abbreviated, and everything in it that looks like the query of a URL is redacted.
//   - Redirects are followed only where the method and the body stay as they were, never from https to http,
//     never to a URL with a user in it, and without a Referer: nothing of a signed URL goes to another host, unless the storage
//     itself has put it into the Location. Ten hops at most, five for a call to the queue.
//   - What is not found is told from what was stored once: see [Storage.Gone]. Documents are asked for with Cache-Control: no-cache.
//   - Clients are safe for concurrent use.
//
// A call that is tried again may be carried out twice by the queue. Each method says what that means; [Error].MaybeDone
// tells whether it can have happened.
package queue
