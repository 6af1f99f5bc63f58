package watch

import "io/fs"

// Stamp tells one state of a file from another, without reading it. Two are compared with ==.
type Stamp struct {
	Size     int64
	Modified int64  // in nanoseconds since 1970; whoever writes the file may set it to anything
	Changed  int64  // the same, of what is known about the file too, and nobody can set it; 0 where a system has no such thing
	Inode    uint64 // 0 where a system does not say
	Device   uint64
}

// StampOf is the stamp of a file.
func StampOf(info fs.FileInfo) Stamp {
	s := Stamp{Size: info.Size(), Modified: info.ModTime().UnixNano()}
	s.ofSystem(info.Sys())
	return s
}
