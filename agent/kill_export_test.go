package agent

import "github.com/taskcluster/upload-agent/agent/internal/journal"

// CrashPoints are all points at which a build with the tag "crashpoints" can be made to die.
func CrashPoints() []string { return append(journal.Points(), pointResultWritten, pointResultRenamed) }
