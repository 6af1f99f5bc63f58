// Package page is the inspector: a web page that shows what a task storage holds. It lists tasks, and shows of each its
// definition, its runs and their states, the documents and whether they are valid, the artifacts, and the logs while they are written.
//
// It reads the storage as anybody may, through [queue.Storage], so it works for an embedded storage as for a real one. The browser
// talks to nobody but the page: logs come through it, so the storage need not allow other origins.
//
// What it promises:
//
//   - Nothing that a task wrote does anything: names, documents and logs are shown as text, under a Content-Security-Policy that
//     runs only the page's own files; logs are served as attachments; artifacts are links to their own place, and only where
//     that is http or https and another origin than the page.
//   - No signed URL reaches the page: where a document holds one, its query is redacted and it is no link.
//   - It only reads. Requests other than GET and HEAD are refused, and so are those for a host that is neither this
//     machine nor one of Options.Hosts (a DNS name that was rebound to us), and calls of the API from other sites' pages.
//
// It does not authenticate: who can reach its address sees all tasks. Serve it on loopback.
//
// # The API
//
// All answers are JSON but for the log; errors are {"error": text} with a status. Times are RFC 3339.
//
//	GET /api/tasks                                  TaskList: the newest tasks first
//	GET /api/tasks/ID                               Task: with its runs, and the state of its documents
//	GET /api/tasks/ID/documents/NAME                Text: a document (task.json, resolution.json) for people
//	GET /api/tasks/ID/runs/N/documents/NAME         Text: logs.json or result.json of a run
//	GET /api/tasks/ID/runs/N/artifacts?from=I       Artifacts: a hundred of them by name, with sizes and content types
//	GET /api/tasks/ID/runs/N/log?name=NAME&offset=B the log from byte B on, as it is written, until it ends
//
// The log is the bytes as they were written. The answer goes on while the log grows, and ends when the log does, or when its run was lost
// and nothing more came for a while. If it breaks off otherwise, ask again with the offset that was reached.
//
// The pages are / (the tasks), /tasks/ID (the latest run) and /tasks/ID/runs/N, the latter two with ?log=NAME and #L12 for a line.
package page
