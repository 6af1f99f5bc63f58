// Package socket lets a program on the same machine speak with an agent, through a unix socket: a shell inside a task uploads
// artifacts, keeps values out of the log, and looks how far its run has come.
//
// The agent calls [Listen]; the program has the socket's path from the environment variable [Variable], and calls [Connect]. It is HTTP with JSON, so
// that other languages get by with what they have:
//
//	curl --unix-socket "$UPLOAD_AGENT_SOCKET" -H "Authorization: Bearer $(cat "$(dirname "$UPLOAD_AGENT_SOCKET")/token")" http://agent/v1/status
//
//	GET  /v1/status             a [Status]; with ?follow=1 one line of JSON now and one for each change, until the run ends
//	POST /v1/artifacts          an [Upload]; a line of JSON, a [File], for each file, and in the end {"done":true} or {"error":...}
//	POST /v1/redactions         {"values":["..."]}
//
// All of them take ?task=TASKID&run=RUNID where an agent has several runs. What is refused is answered with {"error":...,"code":...}.
//
// # Who may
//
// Processes of the agent's own user, and root. The socket (0600) lies in a folder (0700) that nobody else can enter; where the system
// tells who has connected (Linux, macOS), anybody else is refused besides; and each request has to bring the token that lies next to
// the socket, so that it is in no argument and no environment. The other way round, a client speaks with a process of its own user or root only.
//
// The agent opens the files, not the caller: with the agent's rights, and in the agent's view of the file system (a path inside of another
// mount namespace means nothing to it). This gives a caller nothing, as it is the same user, or root. An agent with more rights than
// its task, such as one that runs as root, is no use to that task here; use the folders of the sidecar then.
//
// # Promises
//
//   - A file is said to be stored only when its bytes are, as [agent.Run] proves it.
//   - A value that Redact has taken is kept out of everything written from then on. It is never echoed or logged.
//   - Requests, headers and connections are bounded. A caller that goes away stops nothing: what was added is uploaded.
//   - The socket of an agent that was killed is replaced by the next one with the same folder; that of a living one never is.
package socket
