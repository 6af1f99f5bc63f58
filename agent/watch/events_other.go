//go:build !linux

package watch

import "errors"

// events are not used here: kqueue wants an open descriptor for every file of a folder, and what there is on Windows keeps folders
// from being renamed. To look from time to time costs less.
type events struct{}

// useEvents says that there is nothing to complain about.
const useEvents = false

func openEvents() (*events, error)               { return nil, errors.ErrUnsupported }
func (*events) join(*Watcher)                    {}
func (*events) leave(*Watcher)                   {}
func (*events) add(*Watcher, string, bool) error { return errors.ErrUnsupported }
func (*events) watches(*Watcher, string) bool    { return false }
func (*events) count(*Watcher) int               { return 0 }
func (*events) drop(*Watcher, string)            {}
func (*events) close() error                     { return nil }
