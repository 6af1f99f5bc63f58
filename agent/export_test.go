package agent

import "github.com/taskcluster/upload-agent/agent/internal/disk"

// SetDisk puts the state folder on a disk that misbehaves.
func (o *Options) SetDisk(d disk.Disk) { o.disk = d }
