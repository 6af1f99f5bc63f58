package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/upload"
)

func TestResumption(t *testing.T) {
	dir := filepath.Join(t.TempDir(), goodID+"-3")
	mkdir(t, dir)
	gone := filepath.Join(t.TempDir(), goodID+"-3")
	lost := &agent.ClaimLostError{TaskID: goodID, RunID: 3, Err: errors.New("404 from the queue")}
	receipts := map[string]upload.Receipt{"a": {}, "b": {}, "terminal.log": {Size: 2 << 20}, "whole.log": {Size: 7}, "new.log": {Size: 7}}
	for name, row := range map[string]struct {
		got    resumption
		status int
		line   string
		json   string // a part of it
	}{
		"completed": {
			concluded(dir, &agent.Summary{Success: true, Artifacts: receipts, Skipped: []string{"b", "a"}, Continued: map[string]int64{"terminal.log": 1048576, "whole.log": 7, "new.log": 0}}, nil),
			0, "completed: success; 5 artifacts (2 already stored), terminal.log went on at byte 1048576", `"success":true,"artifacts":5,"alreadyStored":["a","b"],"continued":{"terminal.log":1048576}`,
		},
		"completed, with less": {
			concluded(dir, &agent.Summary{Artifacts: map[string]upload.Receipt{"terminal.log": {}}, Missing: map[string]string{"x": "no such file"}}, nil),
			0, "completed: the command did not succeed; 1 artifact, 1 missing", `"success":false,"artifacts":1,"missing":{"x":"no such file"}`,
		},
		"completed, but its folder cannot be removed": {
			concluded(dir, &agent.Summary{Success: true}, errors.New("close run: permission denied")), 0, "completed: success; 0 artifacts", `"state":"completed"`,
		},
		"already": {notResumed(gone, agent.ErrCompleted), 0, "was completed already; its state folder is removed", `"state":"completed already"`},
		"closed":  {concluded(gone, nil, agent.ErrNoOutcome), 0, "closed without a result: its task died with the agent; the queue gives it to another worker", `"state":"closed"`},
		"closed, with less": {
			concluded(gone, nil, errors.Join(fmt.Errorf("conclude run: %w", agent.ErrNoOutcome), errors.New("404 from the storage"))), 0,
			"closed without a result: its task died with the agent; the queue gives it to another worker; its log is incomplete: 404 from the storage", `"error":"404 from the storage"`,
		},
		"not even closed": {
			concluded(dir, nil, errors.Join(agent.ErrNoOutcome, errGraceOver)), 1,
			"not completed: the task died with the agent, and its outcome with it; not done within --grace after the first signal; kept in " + dir, `"state":"not completed"`,
		},
		"not begun": {notResumed(gone, &agent.StateError{Dir: gone, Err: agent.ErrNotBegun}), 0, "had not begun, or was over; its state folder is removed", `"state":"not begun"`},
		"in use":    {notResumed(dir, &agent.StateError{Dir: dir, Err: agent.ErrInUse}), 0, "in use by another process", `"state":"in use"`},
		"gone": { // the process that had it has ended it
			notResumed(gone, &agent.StateError{Dir: gone, Err: errors.New("no such file")}), 0, "in use by another process", `"state":"in use"`,
		},
		"claim lost":               {notResumed(gone, fmt.Errorf("resume run: %w", lost)), 7, "claim lost: 404 from the queue; its state folder is removed", `"error":"404 from the queue"`},
		"claim lost, then":         {concluded(gone, nil, fmt.Errorf("conclude run: %w", lost)), 7, "claim lost: 404 from the queue; its state folder is removed", `"state":"claim lost"`},
		"claim lost, or completed": {concluded(dir, nil, fmt.Errorf("%w: %w", agent.ErrUnknownOutcome, lost)), 1, "not completed: 404 from the queue; kept in " + dir, `"state":"not completed"`},
		"damaged":                  {notResumed(dir, &agent.StateError{Dir: dir, Err: errors.New("journal damaged at line 2")}), 1, "not resumed: journal damaged at line 2; kept in " + dir, `"state":"not resumed"`},
		"interrupted":              {concluded(dir, nil, fmt.Errorf("conclude run: %w", errSecondSignal)), 1, "not completed: conclude run: interrupted a second time; kept in " + dir, `"runId":3`},
		"many errors":              {concluded(dir, nil, errors.Join(errors.New("one\x1b"), errors.New("two"))), 1, "not completed: one\uFFFD; two; kept in " + dir, `"state":"not completed"`},
	} {
		if line := "task " + goodID + " run 3: " + row.line; row.got.String() != line || row.got.status() != row.status {
			t.Errorf("%s: status %d, %q\nwant    %d, %q", name, row.got.status(), row.got, row.status, line)
		}
		if text, err := json.Marshal(row.got); err != nil || !strings.Contains(string(text), row.json) {
			t.Errorf("%s: %s, %v; want %s in it", name, text, err, row.json)
		}
	}
	other := filepath.Join(t.TempDir(), "lost+found")
	mkdir(t, other)
	if got, want := notResumed(other, errors.New("no journal")).String(), other+": not resumed: no journal; kept in "+other; got != want {
		t.Errorf("a folder of another name: %q, want %q", got, want)
	}
}

func TestWorseStatus(t *testing.T) {
	for _, row := range [][3]int{{0, 0, 0}, {0, 7, 7}, {7, 0, 7}, {7, 1, 1}, {1, 7, 1}, {1, 0, 1}} {
		if got := worse(row[0], row[1]); got != row[2] {
			t.Errorf("worse(%d, %d) = %d, want %d", row[0], row[1], got, row[2])
		}
	}
}
