package socket

// checkPrivate has nothing to do: below the user's own folders nobody else gets in.
func checkPrivate(string) error { return nil }
