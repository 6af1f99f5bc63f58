package agent

// LogTaken is how many bytes of a log, less the secrets in them, the run has taken over since it began: also before it was resumed. After a process has died, the next
// one finds the number of those that outlived it; so somebody who can read again what he wrote to the log knows where to go on,
// and no byte is missing or there twice. What the redactor holds back is decided on first. 0 if there is no such log.
func (r *Run) LogTaken(name string) int64 {
	r.mu.Lock()
	log := r.logs[name]
	r.mu.Unlock()
	if log == nil || log.quota == nil {
		return 0
	}
	_ = log.writer.Flush() // the quota and the spool count what is lost
	return log.quota.Taken()
}

// Settled is the outcome of the run, if the worker has given it: perhaps before the run was resumed. From then on nothing is added to it.
func (r *Run) Settled() (Outcome, bool) {
	r.finishing.Lock()
	defer r.finishing.Unlock()
	if r.settled == nil {
		return Outcome{}, false
	}
	outcome, err := outcomeOf(*r.settled)
	return outcome, err == nil
}
