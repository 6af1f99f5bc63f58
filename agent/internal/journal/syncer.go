package journal

import "time"

// notePause is how long what was only noted waits for more to share an fsync with: a run with ten thousand small
// artifacts would else be busy with nothing but fsyncs, each of which holds up the next write.
const notePause = 100 * time.Millisecond

// keepSynced makes what is written survive a power cut, as much at once as there is, until the
// journal is closed or dead. It alone calls Sync, and never again after an error.
func (j *Journal) keepSynced() {
	defer close(j.ended)
	j.mu.Lock()
	defer j.mu.Unlock()
	for {
		for j.idle() && !j.closing && j.err == nil {
			j.changed.Wait()
		}
		if j.idle() || j.err != nil {
			return
		}
		j.gather()
		if j.err != nil || j.flush() != nil {
			return
		}
		end := j.written
		j.mu.Unlock()
		err := j.file.Sync()
		j.mu.Lock()
		if err != nil {
			j.die("sync", err)
			// The pages count as clean now: the next process would read them and find that Sync works. And whatever this
			// process comes to know from here on, it cannot write down. So nobody shall rely on the file any more.
			if j.disk.Rename(Path(j.dir), deadPath(j.dir)) != nil {
				_ = j.file.Truncate(j.synced)
			}
			return
		}
		j.synced = end
		if len(j.jotted) == 0 {
			j.lines, j.jotted = nil, nil // a thousand runs that are idle keep no room for lines
		}
		j.changed.Broadcast()
	}
}

// gather returns when somebody waits for an fsync, or nobody has for the pause. The caller holds mu.
func (j *Journal) gather() {
	j.due = false
	timer := time.AfterFunc(notePause, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.due = true
		j.changed.Broadcast()
	})
	defer timer.Stop()
	for j.waiting == 0 && !j.due && !j.closing && j.err == nil {
		j.changed.Wait()
	}
}

// waitSynced returns when the file survives a power cut up to end, or never will.
func (j *Journal) waitSynced(end int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.waiting++
	defer func() { j.waiting-- }()
	j.changed.Broadcast()
	for j.synced < end && j.err == nil {
		j.changed.Wait()
	}
	if j.synced < end {
		return j.err
	}
	return nil
}

// die ends all writing, for the first reason given. The caller holds mu.
func (j *Journal) die(op string, err error) {
	if j.err != nil {
		return
	}
	j.err = &Error{Op: op, Path: Path(j.dir), Err: err}
	close(j.failed)
	j.changed.Broadcast()
}

// Sync returns when all that was noted or jotted down before the call survives a power cut. The error is that of [Journal.Err].
func (j *Journal) Sync() error {
	j.mu.Lock()
	err := j.flush()
	end := j.written
	j.mu.Unlock()
	if err != nil {
		return err
	}
	return j.waitSynced(end)
}

// Failed is closed when the journal is dead: a write or an fsync has failed, and nothing more can be written down.
func (j *Journal) Failed() <-chan struct{} { return j.failed }

// Err is the *[Error] that the journal has died of; nil while it lives.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil {
		return nil
	}
	return j.err
}

// Close syncs what was noted, waits for the background to end, and lets go of the file and its lock. A dead journal
// syncs nothing, and gives its error. Calling it again does nothing and gives the same.
func (j *Journal) Close() error {
	j.close.Do(func() {
		j.mu.Lock()
		j.closing = true
		j.changed.Broadcast()
		j.mu.Unlock()
		<-j.ended
		j.closeErr = j.file.Close()
		if err := j.Err(); err != nil {
			j.closeErr = err
		}
	})
	return j.closeErr
}
