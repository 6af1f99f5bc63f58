package livelog

import "time"

// rhythm decides how often the index is replaced while output flows: the interval is a
// sixtieth of the log's age, or what the storage took for the latest index if that is more, but not less than min and
// not more than max. With the defaults and a quick storage that is a second during the first minute, and ten from the tenth minute on.
type rhythm struct{ min, max time.Duration }

// interval is the least time from one flush to the next for a log of this age, and when its readers should look again.
func (r rhythm) interval(age, took time.Duration) time.Duration {
	return min(max(age/60, took, r.min), r.max)
}

// jittered is interval made longer by up to a tenth, so that many logs that began at the
// same moment do not flush at the same moment for ever. random is from [0, 1).
func jittered(interval time.Duration, random float64) time.Duration {
	return interval + time.Duration(float64(interval)/10*random)
}
