package agent

import "testing"

func TestReadable(t *testing.T) {
	const front = "http://storage.test/t/runs/0/artifacts/"
	for _, c := range []struct{ name, url, want string }{
		{"a/b.txt", front + "a/b.txt", front + "a/b.txt"},
		{"a?b", front + "a?b", front + "a%3Fb"},
		{"a/b#c", front + "a/b#c", front + "a/b%23c"},
		{"100%41", front + "100%41", front + "100%2541"},
		{"a b?", front + "a b?", front + "a%20b%3F"},
		// A queue that escapes.
		{"a?b", front + "a%3Fb", front + "a%3Fb"},
		{"100%41", front + "100%2541", front + "100%2541"},
		{"%25", front + "%2525", front + "%2525"},
		{"a b", front + "a%20b", front + "a%20b"},
		// What leads elsewhere is the queue's business.
		{"a?b", "http://elsewhere.test/1234", "http://elsewhere.test/1234"},
		{"a?b", "http://elsewhere.test/?name=/a?b", "http://elsewhere.test/?name=/a?b"},
		{"b#c", "http://elsewhere.test/ab#c", "http://elsewhere.test/ab#c"},
	} {
		if got := readable(c.url, c.name); got != c.want {
			t.Errorf("%q at %s is read at %s, want %s", c.name, c.url, got, c.want)
		}
	}
}
