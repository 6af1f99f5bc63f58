// Package sidecar takes runs from folders: a worker in any language makes a folder for each run below a common one, and
// writes files there; the agent does what is in package agent with them.
//
//	claim.json        worker, renamed into place   the queue's answer to the claim, plus workerGroup and workerId
//	logs/NAME         worker, appended             a log, followed while it grows
//	artifacts/PATH    worker                       an artifact, uploaded once it has settled, at the latest at the end
//	finish.json       worker, renamed into place   {"success": true, "result": {...}}: the end; nothing is written after it
//	status.json       agent, replaced              how far the run is, see schema.Status
//	claim-lost        agent                        the claim is gone: stop the task
//
// # Promises
//
//   - Those of package agent, over any number of restarts: a run whose process was killed goes on where it stood, and a log at the very byte.
//   - A run never waits for another. What is wrong with a folder is said in its status.json, or in [Sidecar.Status]
//     where that cannot be written, and disturbs no other folder.
//   - Nothing outside of a run folder is read: no link is followed, and no file is taken that has other names elsewhere. Nothing waits for a pipe or a device.
//   - A log goes on through the rotation, truncation, renaming and replacement of its file. Where bytes may have been lost, a line in the log says so.
//   - A run that is over is not begun again, as long as its folder is there.
//
// Hints of the filesystem make it quick; what counts is what is found by looking, time and again.
//
// # Limits
//
// What [agent.Run.Redact] was told dies with the process: who told it has to tell the next one too. Options.Run.Redact is for all runs.
// A worker that has died leaves a folder that nobody finishes: its claim is kept until the task's deadline, or until somebody removes the folder.
// An artifact below artifacts/ cannot have the name of a log; it is refused.
// A file that was truncated and has grown again between two looks, with the same first 64 bytes, past what was read of it, is taken for one that has grown.
package sidecar
