package journal

// MayHold says whether a URL can be written down: one that is signed cannot.
func MayHold(url string) bool { return !signed(url) }
