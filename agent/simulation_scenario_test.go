package agent_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
)

// scenario is what one seed means: a task, and all that goes wrong while it runs.
type scenario struct {
	seed     uint64
	claim    time.Duration // the length of a claim
	duration time.Duration // of the task
	success  bool
	declared int       // how many of the logs are declared at the start
	names    []string  // of the logs
	steps    []simStep // of the worker, in the order of time

	faults      []agenttest.Fault
	calmAfter   time.Duration // all faults end then; 0: never
	outage      outage        // of the queue
	lose        time.Duration // when the queue takes the claim away; 0: never
	rival       bool          // another worker takes the task as soon as it can, and completes it
	skew        time.Duration // the server's clock minus ours
	jump        time.Duration // by how much it jumps
	jumpAt      time.Duration
	diskFaults  []diskFault
	logLimit    int // bytes; 0: so many that it does not matter
	crashes     []crash
	reports     bool // the worker reports the run by itself, after Finish
	secondLook  bool // a run that could not be completed is taken up once more
	readerStart time.Duration
	readerPoll  time.Duration // the least between two looks
	quirks      bool          // the queue is the first one
	v2          bool          // and so are the signatures of URLs
}

// simStep is one thing that the worker does: it writes a piece of a log, or adds an artifact.
type simStep struct {
	at       time.Duration
	log      int // of a piece
	text     []byte
	artifact *simArtifact // nil: it is a piece
}

type simArtifact struct {
	name, contentType string
	body              []byte // what has to be stored
	path              string // of the file that holds it; "": it is given as bytes
	missing           bool   // there is no such file
	never             bool   // the worker says that there is none
	replace           bool   // there are more than one of the name, and the last that is added counts
}

// outage is when the queue cannot be reached.
type outage struct {
	from, to time.Duration // to 0: for ever
	silent   bool          // requests hang, instead of being refused
}

func (o outage) at(t time.Duration) bool { return o.from > 0 && t >= o.from && (o.to == 0 || t < o.to) }

// crash is one end of the agent's process, and what comes after it.
type crash struct {
	power   bool          // the power is cut: what was not synced is gone. Else the process is killed
	op      int           // at this operation on the disk, counted from the start of the process; 0: not
	request int           // or at this request; 0: not
	after   bool          // the request was answered, but nobody has read it
	in      time.Duration // or after that time
	ending  bool          // counted from when the worker or its successor asks for the end of the run
	pause   time.Duration // until the next process
	goesOn  bool          // the worker has survived
}

// diskFault hits operations on the disk.
type diskFault struct {
	name  string // of the operation
	kind  string // "ENOSPC" or "EIO"
	from  int    // the number of the operation
	many  int    // how many are hit
	spool bool   // only those on logs are, counted alone
}

func drawScenario(seed uint64) *scenario {
	r := rand.New(rand.NewPCG(seed, 0x73696d756c617465))
	s := &scenario{seed: seed, success: r.IntN(4) > 0, secondLook: r.IntN(2) == 0, reports: r.IntN(8) == 0}
	s.claim = pick(r, 30*time.Second, time.Minute, time.Minute, 2*time.Minute, 5*time.Minute, 20*time.Minute)
	switch r.IntN(5) {
	case 0:
	case 1, 2:
		s.duration = spread(r, 10*time.Second)
	case 3:
		s.duration = spread(r, s.claim)
	case 4:
		s.duration = spread(r, min(4*s.claim, 25*time.Minute))
	}
	s.drawWork(r)
	s.drawReplacements(rand.New(rand.NewPCG(seed, 0x7265706c616365)))
	s.drawFaults(r)
	s.drawTrouble(r)
	s.drawDisk(r)
	s.readerPoll = pick(r, 300*time.Millisecond, 3*time.Second, 10*time.Second, 10*time.Second)
	if r.IntN(2) == 0 {
		s.readerStart = spread(r, s.duration+10*time.Second)
	}
	if r.IntN(3) == 0 {
		s.logLimit = livelog.MinLimit
	}
	if r.IntN(12) == 0 && len(s.diskFaults) == 0 { // a disk that is full for a while
		s.diskFaults = append(s.diskFaults, diskFault{name: "write", kind: pick(r, "ENOSPC", "ENOSPC", "EIO"), from: 5 + r.IntN(60), many: 1 + r.IntN(12), spool: true})
	}
	s.drawQuirks(rand.New(rand.NewPCG(seed, 0x717569726b73)))
	return s
}

// drawQuirks makes the queue the first one, which grants no name with a space: few are left.
func (s *scenario) drawQuirks(r *rand.Rand) {
	s.v2 = r.IntN(3) == 0
	if s.quirks = r.IntN(3) == 0; !s.quirks {
		return
	}
	s.names = slices.Clone(s.names)
	for i := range s.names {
		s.names[i] = strings.ReplaceAll(s.names[i], " ", "_")
	}
	bad := r.IntN(8) // the one with this number
	for _, step := range s.steps {
		switch a := step.artifact; {
		case a == nil:
		case strings.HasPrefix(a.name, fmt.Sprintf("public/%d ", bad)):
			a.missing = true
		default:
			a.name = strings.ReplaceAll(a.name, " ", "_")
		}
	}
}

// first is the number of the task's first run, which is ours.
func (s *scenario) first() schema.RunID {
	if s.quirks {
		return 1
	}
	return 0
}

func (s *scenario) signature() string {
	if s.v2 {
		return "v2"
	}
	return "v4"
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// spread is a time up to most, often a short one.
func spread(r *rand.Rand, most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	d := time.Duration(r.Int64N(int64(most)) + 1)
	if r.IntN(3) == 0 {
		d /= 20
	}
	return d.Truncate(time.Millisecond)
}

func (s *scenario) drawWork(r *rand.Rand) {
	s.names = []string{"terminal.log", "logs/what it built.log", "third"}[:1+max(0, r.IntN(5)-2)]
	s.declared = 1 + r.IntN(len(s.names))
	for log := range s.names {
		size := pick(r, 0, 1+r.IntN(2000), 1+r.IntN(2000), 1+r.IntN(40_000), 1+r.IntN(40_000), 1+r.IntN(200_000))
		pieces := 1 + r.IntN(10)
		for range pieces {
			if size > 0 {
				s.steps = append(s.steps, simStep{at: spread(r, s.duration), log: log, text: make([]byte, 1+r.IntN(2*size/pieces+1))})
			}
		}
	}
	for i := range pick(r, 0, 1, 2, 3, 6) {
		a := &simArtifact{name: fmt.Sprintf("public/%d of them.bin", i), contentType: pick(r, "", "", "text/plain", "application/x-thing; a=b")}
		switch which := r.IntN(14); {
		case which == 13:
			a.missing, a.never = true, true
		case which == 0:
			a.missing, a.path = true, simFiles.folder+"/none"
		case which < 6:
			f := simFiles.files[r.IntN(len(simFiles.files))]
			a.path, a.body = f.path, f.body
		default:
			size := pick(r, 0, 1, r.IntN(5000), r.IntN(70_000), r.IntN(150_000))
			from := r.IntN(len(simFiles.noise) - size)
			a.body = simFiles.noise[from : from+size]
		}
		s.steps = append(s.steps, simStep{at: spread(r, s.duration), artifact: a})
	}
	slices.SortStableFunc(s.steps, func(a, b simStep) int { return int(a.at - b.at) })
	for i := range s.steps { // each piece begins with a line of its own, so that none is taken for another
		if text := s.steps[i].text; text != nil {
			from := r.IntN(len(simFiles.lines) - len(text))
			copy(text, simFiles.lines[from:])
			copy(text, fmt.Sprintf("[piece %d: %d]\n", i, len(text)))
		}
	}
}

// drawReplacements has some artifacts take the place of others.
func (s *scenario) drawReplacements(r *rand.Rand) {
	for _, step := range s.steps {
		old := step.artifact
		if old == nil || old.missing || r.IntN(3) > 0 {
			continue
		}
		old.replace = true
		for range 1 + r.IntN(3) {
			a := &simArtifact{name: old.name, contentType: pick(r, "", "text/plain"), replace: true}
			if f := simFiles.files[r.IntN(len(simFiles.files))]; r.IntN(2) == 0 {
				a.path, a.body = f.path, f.body
			} else {
				size := pick(r, 0, 1, r.IntN(5000), r.IntN(150_000))
				from := r.IntN(len(simFiles.noise) - size)
				a.body = simFiles.noise[from : from+size]
			}
			s.steps = append(s.steps, simStep{at: step.at + spread(r, s.duration-step.at), artifact: a})
		}
	}
	slices.SortStableFunc(s.steps, func(a, b simStep) int { return int(a.at - b.at) })
}

func (s *scenario) drawFaults(r *rand.Rand) {
	most, number := 0.08, 1+r.IntN(4)
	switch r.IntN(10) {
	case 0, 1, 2:
		return
	case 3, 4:
		most = 0.5
	}
	for range number {
		f := agenttest.Fault{
			What:        pick(r, "any", "put", "put", "get", "claim", "reclaim", "artifact-urls", "completed", "completed"),
			Kind:        pick(r, "503", "503", "500", "429", "403", "400", "reset", "reset", "stall", "slow", "expired", "redirect", "lost", "lost"),
			Probability: max(r.Float64()*most, 0.001),
		}
		if f.Kind == "expired" && f.What != "any" && f.What != "get" {
			f.What = "put"
		}
		if f.What == "put" && r.IntN(3) == 0 {
			f.Path = pick(r, "result.json", "logs.json", "/artifacts/public", "/live/", ".log")
			f.Probability = min(1, 3*f.Probability)
		}
		if f.What == "completed" || f.What == "claim" || r.IntN(4) == 0 {
			f.Count, f.Probability = 1+r.IntN(8), min(1, 5*f.Probability)
		}
		s.faults = append(s.faults, f)
	}
	if r.IntN(2) == 0 {
		s.calmAfter = spread(r, s.duration+2*time.Minute)
	}
}

func (s *scenario) drawTrouble(r *rand.Rand) {
	if r.IntN(10) == 0 {
		s.outage = outage{from: spread(r, s.duration+5*time.Second), silent: r.IntN(2) == 0}
		if r.IntN(4) > 0 {
			s.outage.to = s.outage.from + spread(r, s.claim*3/2)
		}
	}
	if r.IntN(12) == 0 {
		s.lose = spread(r, s.duration+5*time.Second)
	}
	s.rival = r.IntN(5) == 0
	if r.IntN(4) == 0 {
		s.skew = pick(r, 700*time.Millisecond, 1500*time.Millisecond, 3*time.Second, 30*time.Second, 10*time.Minute) * pick(r, time.Duration(1), -1)
	}
	if r.IntN(20) == 0 {
		s.jump = pick(r, time.Second, 10*time.Second, time.Minute, 5*time.Minute) * pick(r, time.Duration(1), -1)
		s.jumpAt = spread(r, s.duration+5*time.Second)
	}
}

func (s *scenario) drawDisk(r *rand.Rand) {
	if r.IntN(10) == 0 {
		for range 1 + r.IntN(2) {
			f := diskFault{name: pick(r, "write", "write", "sync", "sync", "create", "syncdir", "rename"), kind: pick(r, "ENOSPC", "EIO"), from: 1 + r.IntN(60), many: pick(r, 1, 1, 3, 1<<30)}
			if f.name == "sync" || f.name == "syncdir" {
				f.kind = "EIO"
			}
			s.diskFaults = append(s.diskFaults, f)
		}
	}
	if r.IntN(2) == 0 {
		return
	}
	for range 1 + max(0, r.IntN(6)-2) {
		c := crash{power: r.IntN(2) == 0, goesOn: r.IntN(3) > 0}
		c.goesOn = c.goesOn && !c.power
		switch r.IntN(8) {
		case 0, 1:
			c.op = 1 + r.IntN(pick(r, 15, 60, 120))
		case 2, 3:
			c.request, c.after = 1+r.IntN(pick(r, 8, 25, 60)), r.IntN(2) == 0
		case 4:
			c.in = spread(r, s.duration+3*time.Second)
		case 5, 6:
			c.ending, c.op = true, 1+r.IntN(25)
		case 7:
			c.ending, c.request, c.after = true, 1+r.IntN(10), r.IntN(2) == 0
		}
		switch r.IntN(6) {
		case 0:
		case 1, 2, 3:
			c.pause = spread(r, s.claim/3)
		case 4:
			c.pause = spread(r, s.claim)
		case 5:
			c.pause = spread(r, 2*s.claim)
		}
		s.crashes = append(s.crashes, c)
	}
}

// clock is the server's.
func (s *scenario) clock(began time.Time) func() time.Time {
	return func() time.Time {
		now := time.Now()
		if s.jump != 0 && now.Sub(began) >= s.jumpAt {
			now = now.Add(s.jump)
		}
		return now.Add(s.skew)
	}
}

// kind says that faults of such a kind may happen.
func (s *scenario) may(kinds ...string) bool {
	return slices.ContainsFunc(s.faults, func(f agenttest.Fault) bool { return slices.Contains(kinds, f.Kind) })
}

// fair says that an agent that does all it can must be able to keep its claim, and to complete the run if its worker says how it ended.
func (s *scenario) fair() bool {
	sum := 0.0
	for _, f := range s.faults {
		sum += f.Probability
	}
	switch {
	case sum > 0.12 || s.may("400", "403", "expired"):
		return false
	case s.outage.from > 0 && (s.outage.to == 0 || s.outage.to-s.outage.from > min(s.claim/4, time.Minute)):
		return false
	case s.lose > 0 || s.jump != 0 || len(s.diskFaults) > 0:
		return false
	case s.claim < time.Minute && (len(s.faults) > 0 || s.outage.from > 0 || len(s.crashes) > 0):
		return false
	case s.outage.from > 0 && len(s.crashes) > 0:
		return false
	}
	for _, c := range s.crashes {
		if c.pause > s.claim/4 {
			return false
		}
	}
	return len(s.crashes) < 3 || s.claim >= 2*time.Minute
}

// String is the scenario in a paragraph.
func (s *scenario) String() string {
	var b strings.Builder
	text, artifacts := make([]int, len(s.names)), []string(nil)
	for _, step := range s.steps {
		if step.artifact == nil {
			text[step.log] += len(step.text)
			continue
		}
		a := step.artifact
		artifacts = append(artifacts, fmt.Sprintf("%q at %v (%d bytes, file %t, missing %t %t)", a.name, step.at, len(a.body), a.path != "", a.missing, a.never))
	}
	fmt.Fprintf(&b, "A task of %v under claims of %v, success %t, writes %q (the first %d declared at the start) of %d bytes in %d steps and leaves %d artifacts: %s.",
		s.duration, s.claim, s.success, s.names, s.declared, text, len(s.steps), len(artifacts), strings.Join(artifacts, ", "))
	for _, f := range s.faults {
		fmt.Fprintf(&b, " Fault %s=%s:%.3f", f.What, f.Kind, f.Probability)
		if f.Path != "" {
			fmt.Fprintf(&b, " below %q", f.Path)
		}
		if f.Count > 0 {
			fmt.Fprintf(&b, ", at most %d", f.Count)
		}
		b.WriteByte('.')
	}
	if s.calmAfter > 0 && len(s.faults) > 0 {
		fmt.Fprintf(&b, " The faults end after %v.", s.calmAfter)
	}
	if s.outage.from > 0 {
		fmt.Fprintf(&b, " The queue is away from %v to %v (0s: for ever; silent %t).", s.outage.from, s.outage.to, s.outage.silent)
	}
	if s.lose > 0 {
		fmt.Fprintf(&b, " The queue takes the claim away at %v.", s.lose)
	}
	if s.rival {
		b.WriteString(" Another worker waits for the task.")
	}
	if s.skew != 0 || s.jump != 0 {
		fmt.Fprintf(&b, " The server's clock is %v ahead, and jumps by %v at %v.", s.skew, s.jump, s.jumpAt)
	}
	for _, f := range s.diskFaults {
		fmt.Fprintf(&b, " Disk: %s of %q, %d times from operation %d on (logs only %t).", f.kind, f.name, f.many, f.from, f.spool)
	}
	for _, c := range s.crashes {
		fmt.Fprintf(&b, " Crash: power cut %t, at disk operation %d or request %d (answered %t) or after %v (all from the end on: %t); %v later the next process, the worker goes on %t.",
			c.power, c.op, c.request, c.after, c.in, c.ending, c.pause, c.goesOn)
	}
	if s.logLimit > 0 {
		fmt.Fprintf(&b, " A log has at most %d bytes.", s.logLimit)
	}
	if s.reports {
		b.WriteString(" The worker reports by itself.")
	}
	if s.quirks {
		b.WriteString(" The queue is the first one.")
	}
	fmt.Fprintf(&b, " URLs are signed with %s.", s.signature())
	fmt.Fprintf(&b, " The readers come at %v and look every %v. Second look %t.", s.readerStart, s.readerPoll, s.secondLook)
	return b.String()
}
