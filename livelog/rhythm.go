package livelog

import "time"

// rhythm decides how often the index is replaced while output flows: the interval is a second for each hour of
// the log's age, or what the storage took for the latest index if that is more, but not less than min and
// not more than max. With the defaults and a quick storage that is a second during the first hour, and ten from the tenth hour on.
type rhythm struct{ min, max time.Duration }

// interval is the least time from one flush to the next for a log of this age, and what its readers are told.
func (r rhythm) interval(age, took time.Duration) time.Duration {
	return min(max(age/3600, took, r.min), r.max)
}

// jittered is interval made longer by up to a tenth, so that many logs that began at the
// same moment do not flush at the same moment for ever. random is from [0, 1).
func jittered(interval time.Duration, random float64) time.Duration {
	return interval + time.Duration(float64(interval)/10*random)
}

// nextLook is how long after a look at the index a reader looks again, if flushes are interval apart. idle is how many looks
// in a row, that one included, have shown nothing new.
//
// Who has found something new comes back a little too early, and who has come too early comes back soon: so a reader finds
// the publisher's beat and sees each flush within a quarter of the interval, for one look and a half a flush. Of a quiet log it
// makes half a look an interval.
func nextLook(interval time.Duration, idle int) time.Duration {
	if idle == 0 {
		return interval * 9 / 10
	}
	return min(interval/4<<min(idle-1, 3), 2*interval)
}
