package schema_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

func TestNewTaskID(t *testing.T) {
	seen := map[schema.TaskID]bool{}
	for range 1000 {
		id := schema.NewTaskID()
		if !id.Valid() || seen[id] || id[0] == '-' || id[0] == '_' || !strings.ContainsRune("AQgw", rune(id[21])) || id[8] != 'Q' && id[8] != 'R' && id[8] != 'S' && id[8] != 'T' {
			t.Fatalf("got %q", id)
		}
		seen[id] = true
	}
}

func TestTaskIDValid(t *testing.T) {
	for id, want := range map[schema.TaskID]bool{
		"YpsYjqE5Q_-NIvzSmpNnFA": true, "AAAAAAAAAAAAAAAAAAAAAA": true, "zzzzzzzzzzzzzzzzzzzzzz": true, "": false, "short": false,
		"YpsYjqE5Q_-NIvzSmpNnFAA": false, "YpsYjqE5Q+-NIvzSmpNnFA": false, "YpsYjqE5Q/-NIvzSmpNnFA": false, "YpsYjqE5Qä-NIvzSmpNnF": false,
	} {
		if got := id.Valid(); got != want {
			t.Errorf("%q: %v", id, got)
		}
		valid := schema.Validate("claim", "", []byte(strings.Replace(goodClaim, taskID, string(id), 1))) == nil
		if valid != want {
			t.Errorf("%q: the schema and Valid disagree", id)
		}
	}
}

func TestClaimTask(t *testing.T) {
	const other, third = "AAAAAAAAAAAAAAAAAAAAAA", "BBBBBBBBBBBBBBBBBBBBBB"
	for _, test := range []struct {
		own  schema.TaskID
		path string
		want schema.TaskID
	}{
		{third, "/" + other + "/runs/0/logs.json", third},
		{"", "/" + other + "/runs/0/logs.json", other},
		{"", "/bucket/prefix/" + other + "/runs/12/logs.json", other},
		{"", "/%41AAAAAAAAAAAAAAAAAAAAA/runs/12/logs.json", other},
		{"", "/short/runs/12/logs.json", taskID},
		{"", "/" + other + "/runs/0/result.json", taskID},
		{"", "/" + other + "/walks/0/logs.json", taskID},
		{"", "/runs/0/logs.json", taskID},
		{"", "", taskID},
		{"", "/%zz", taskID},
	} {
		claim := schema.Claim{TaskID: test.own}
		claim.LogsPutURL = schema.NewSignedURL("https://e.com" + test.path + "?Signature=/" + third + "/runs/0/logs.json")
		claim.Status.TaskID = taskID
		if got := claim.Task(); got != test.want {
			t.Errorf("%q %s: got %s, want %s", test.own, test.path, got, test.want)
		}
	}
}

func TestArtifactName(t *testing.T) {
	for _, name := range []string{
		"a", "terminal.log", "public/build.tar.gz", "live/terminal.log/index.json", "a b", "ä/ö", "...", ".hidden", "a?b#c%41", "a..b", strings.Repeat("x", 1024),
	} {
		if err := schema.ArtifactName(name); err != nil {
			t.Error(err)
		}
	}
	for name, want := range map[string]string{
		"":                       `artifact name "" is empty`,
		strings.Repeat("ä", 513): `artifact name "ääääääääääääääääääääääääääääääääääääääää…" (513 characters) is 1026 bytes long, more than 1024`,
		"a\xff":                  `artifact name "a\xff" is not valid UTF-8`,
		"a\nb":                   `artifact name "a\nb" has a control character`,
		"a\x00":                  `artifact name "a\x00" has a control character`,
		"a\u0085":                `artifact name "a\u0085" has a control character`,
		`a\b`:                    `artifact name "a\\b" has a backslash; segments are separated by a slash`,
		"/etc/passwd":            `artifact name "/etc/passwd" starts with a slash`,
		"a//b":                   `artifact name "a//b" has an empty segment`,
		"a/":                     `artifact name "a/" has an empty segment`,
		"../a":                   `artifact name "../a" has a segment ".."`,
		"a/./b":                  `artifact name "a/./b" has a segment "."`,
		"a/..":                   `artifact name "a/.." has a segment ".."`,
		"x?Signature=s3cret\n":   `artifact name "<redacted URL>" has a control character`,
	} {
		err := schema.ArtifactName(name)
		var wrong *schema.NameError
		if !errors.As(err, &wrong) || wrong.Name != name || err.Error() != want {
			t.Errorf("%q: got %v, want %s", name, err, want)
		}
	}
}

func TestTimestamp(t *testing.T) {
	in := time.Date(2014, 4, 26, 14, 0, 0, 123999999, time.FixedZone("", 7200))
	if got, want := schema.Timestamp(in), time.Date(2014, 4, 26, 12, 0, 0, 123e6, time.UTC); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if now := time.Now(); schema.Timestamp(now) != schema.Timestamp(schema.Timestamp(now)) || schema.Timestamp(now).String() != schema.Timestamp(now).Round(0).String() {
		t.Error("a timestamp has no monotonic clock and is its own timestamp")
	}
}
