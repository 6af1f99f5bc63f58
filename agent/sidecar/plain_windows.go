package sidecar

import "io/fs"

// linksTo is not known here.
func linksTo(fs.FileInfo) uint64 { return 1 }

// ownerOf is not known here.
func ownerOf(fs.FileInfo) (uid int, ok bool) { return 0, false }

// identify has nothing to go by here: files are told apart by how they begin.
func identify(fs.FileInfo) identity { return identity{} }

// syncDir has no meaning here.
func syncDir(string) error { return nil }
