package livelog

import "math"

// takeUp goes on where an earlier process has stopped.
func (q *Quota) takeUp() error {
	before := q.marked
	if before.Open { // what was held died with the process, and what it was writing nobody has seen
		if err := q.spool.takeBack(before.At); err != nil {
			return err
		}
		q.limited = q.spool.Size() >= q.head
		q.held = &ring{bytes: before.Unmarked, lines: before.UnmarkedLines, atLeast: true}
		q.reason = before.Reason
		q.marked = Loss{Bytes: before.Bytes - before.Unmarked, Lines: before.Lines - before.UnmarkedLines, AtLeast: before.AtLeast, Reason: before.Reason, Own: before.Own}
		return q.removeTails()
	}
	marked := before.At + before.Block
	if q.o.Tail != nil {
		found, err := openTail(q.o.Tail, q.tailMost, marked)
		if err != nil {
			return err
		}
		if found != nil {
			q.tail, q.limited, q.noticed = found, true, before.Block == 0 || found.at > marked
			q.reason = limitReason(q.o.Limit)
			q.own += max(found.at-max(q.head, marked), 0) // the notice
			return q.spool.takeBack(found.at)
		}
	}
	// Nothing is written through behind the head: there may be a notice, and what was to follow it nobody has seen.
	end := max(q.head, marked)
	if q.spool.Size() <= q.head {
		return nil
	}
	q.limited = true
	for _, text := range []string{notice(q.o.Limit), "\n" + notice(q.o.Limit)} {
		if q.holds(text, end) {
			q.noticed, end = true, end+int64(len(text))
			q.own += int64(len(text))
			break
		}
	}
	return q.spool.takeBack(end)
}

func (q *Quota) removeTails() error {
	if q.o.Tail == nil {
		return nil
	}
	_, err := openTail(q.o.Tail, q.tailMost, math.MaxInt64)
	return err
}
