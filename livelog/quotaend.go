package livelog

// Close ends the log: what is kept of its end is appended, and the spool closed. A loss that cannot be marked is one that is
// Open. Closing again does nothing; the error is always nil.
func (q *Quota) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil
	}
	q.closed = true
	if q.tail != nil && q.spool.died() == nil {
		q.endTail()
	}
	if q.held != nil && q.spool.died() == nil {
		q.endHeld()
	}
	return q.spool.Close()
}

// endTail is the end of a log that has reached its limit.
func (q *Quota) endTail() {
	if q.tail.end > 0 || q.noticed {
		if err := q.putTail(); err != nil {
			if q.spool.died() == nil {
				_ = q.leaveTail(err) // else the tail stays, for the next process
			}
			return
		}
	}
	_ = q.tail.drop(len(q.tail.kept)) // what is left of them, the next process removes
	q.tail = nil
}

// endHeld is the end of a log whose newest bytes the disk did not take.
func (q *Quota) endHeld() {
	if len(q.held.data) == 0 && !q.held.lost() && !q.noticed {
		q.held = nil
		return
	}
	room := func() int64 { return q.o.Limit - q.spool.Size() }
	if q.putHeld(room()) == nil {
		return
	}
	if q.o.MakeRoom != nil {
		_ = q.o.MakeRoom() // if there is none, nothing changes
	}
	for _, most := range []int64{mostHeld / 4, mostHeld / 16, 0} {
		q.held.keep(most)
		if q.spool.died() != nil || q.putHeld(room()) == nil {
			return
		}
	}
}
