package agenttest

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Fault is one way to misbehave.
type Fault struct {
	// What is hit: "any" (all requests to queue and storage), "put", "get", "create", "part", "complete" and "abort" (of an
	// object in parts), "claim", "reclaim", "artifact-urls" or "completed".
	What string

	// Kind is a status from "400" to "599", or
	//	reset     the connection is reset: a PUT's before or amid its body, a GET's amid the answer. Nothing is done
	//	stall     the request is taken, and then nothing moves until the client leaves or the server is closed
	//	slow      the body and the answer trickle, for about two seconds at most
	//	expired   the storage says that the URL has expired; under "any" only PUTs and completions are hit
	//	redirect  307 to another port, where the same request is served; 302 for a GET
	//	lost      all is done, but the connection is closed instead of an answer
	//	rot       all is done and answered, but a byte of the object is another one afterwards; of a "put" or a "complete". Give a Path: a document that rots says nothing true
	//	late      nothing is done, and a "complete" is answered 200 with an error in its body
	Kind string

	Probability float64     // above 0, up to 1; 0 means 1
	Path        string      // hit only requests whose path contains this; "" is any
	Part        int         // hit only this part of an object, counted from 1; 0 is any
	Count       int         // how many requests to hit; 0 is no limit
	After       int         // how many matching requests to leave alone first
	Code        string      // S3 error code of an answer with a status, or of a late error; "" for the usual one
	Header      http.Header // further headers of an answer with a status, such as Retry-After
}

// The words of a fault, as errors list them.
var (
	faultWhats = []string{"any", "put", "get", "create", "part", "complete", "abort", "claim", "reclaim", "artifact-urls", "completed"}
	faultKinds = []string{"reset", "stall", "slow", "expired", "redirect", "lost", "rot", "late"}
)

// FaultError says which part of a fault specification is wrong, and what is allowed.
type FaultError struct {
	Spec  string // the entry, "put=5o3"
	Field string // "entry", "what", "kind", "probability", "count" or "after"
	Got   string
	Want  string
}

func (e *FaultError) Error() string {
	return fmt.Sprintf("fault %q: %s %q: want %s", e.Spec, e.Field, e.Got, e.Want)
}

// FaultPlan decides which requests are hit by which fault. The zero value hits none. It is safe for concurrent use.
type FaultPlan struct {
	mu       sync.Mutex
	rng      *rand.Rand // nil for the zero value: seeded with 0 when first needed
	injected []*entry   // come before parsed
	readers  bool       // of the requests to the storage only those of readers come by here
	parsed   []*entry
}

// entry is a fault and how often it matched and hit.
type entry struct {
	Fault
	matched, hits int
}

// ParseFaults reads a specification "WHAT=KIND[:PROBABILITY],...": see [Fault] for the words. Without a
// probability every request is hit. The entries are tried in order, and the first that hits counts. The
// same seed and the same order of requests give the same faults. An error is a [*FaultError].
func ParseFaults(spec string, seed uint64) (*FaultPlan, error) {
	p := &FaultPlan{rng: newRand(seed)}
	if strings.TrimSpace(spec) == "" {
		return p, nil
	}
	for part := range strings.SplitSeq(spec, ",") {
		f, err := parseFault(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		p.parsed = append(p.parsed, &entry{Fault: f})
	}
	return p, nil
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x61676e7474657374)) }

func parseFault(part string) (Fault, error) {
	what, rest, ok := strings.Cut(part, "=")
	if !ok {
		return Fault{}, &FaultError{part, "entry", part, "WHAT=KIND[:PROBABILITY]"}
	}
	kind, probability, limited := strings.Cut(rest, ":")
	f := Fault{What: what, Kind: kind}
	if limited {
		p, err := strconv.ParseFloat(probability, 64)
		if err != nil || !(p > 0 && p <= 1) {
			return Fault{}, &FaultError{part, "probability", probability, "a number above 0, up to 1"}
		}
		f.Probability = p
	}
	return f, f.check(part)
}

// check finds what is wrong with a fault; spec names it in the error.
func (f Fault) check(spec string) error {
	wrong := func(field, got, want string) error { return &FaultError{spec, field, got, want} }
	storage := slices.Contains([]string{"any", "put", "get", "create", "part", "complete", "abort"}, f.What)
	switch {
	case !slices.Contains(faultWhats, f.What):
		return wrong("what", f.What, oneOf(faultWhats))
	case f.status() == 0 && !slices.Contains(faultKinds, f.Kind):
		return wrong("kind", f.Kind, "a status from 400 to 599, "+oneOf(faultKinds))
	case f.Kind == "expired" && !storage:
		return wrong("what", f.What, "put, get, create, part, complete, abort or any: only URLs of the storage expire")
	case f.Kind == "rot" && f.What != "put" && f.What != "complete":
		return wrong("what", f.What, "put or complete: nothing else makes an object")
	case f.Kind == "late" && f.What != "complete":
		return wrong("what", f.What, "complete: nothing else is answered before it is done")
	case !(f.Probability >= 0 && f.Probability <= 1):
		return wrong("probability", fmt.Sprint(f.Probability), "a number above 0, up to 1")
	case f.Count < 0:
		return wrong("count", fmt.Sprint(f.Count), "how many requests to hit; 0 is no limit")
	case f.After < 0:
		return wrong("after", fmt.Sprint(f.After), "how many requests to leave alone first")
	}
	return nil
}

func oneOf(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// status is the status of a fault whose kind is one, otherwise 0.
func (f Fault) status() int {
	n, err := strconv.Atoi(f.Kind)
	if err != nil || n < 400 || n > 599 || len(f.Kind) != 3 {
		return 0
	}
	return n
}

// Inject adds a fault. Injected faults are tried in the order of their injection, before those of a
// specification. An error is a [*FaultError].
func (p *FaultPlan) Inject(f Fault) error {
	if err := f.check(f.What + "=" + f.Kind); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.readers {
		if err := f.checkReaders(); err != nil {
			return err
		}
	}
	p.injected = append(p.injected, &entry{Fault: f})
	return nil
}

// onlyReaders is called when objects live in a bucket: what stores them goes there, and no fault of ours can hit it. It finds
// the first that would have to.
func (p *FaultPlan) onlyReaders() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readers = true
	for _, e := range slices.Concat(p.injected, p.parsed) {
		if err := e.checkReaders(); err != nil {
			return err
		}
	}
	return nil
}

// checkReaders finds what is wrong with a fault where objects live in a bucket.
func (f Fault) checkReaders() error {
	const why = ": what stores objects goes right to the bucket"
	switch {
	case slices.Contains([]string{"put", "create", "part", "complete", "abort"}, f.What):
		return &FaultError{f.What + "=" + f.Kind, "what", f.What, oneOf([]string{"any", "get", "claim", "reclaim", "artifact-urls", "completed"}) + why}
	case f.What == "any" && f.Kind == "expired":
		return &FaultError{f.What + "=" + f.Kind, "what", f.What, "get" + why}
	}
	return nil
}

// Clear removes all faults, those of the specification too: from now on nothing is hit. What is being hit is not released.
func (p *FaultPlan) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.injected, p.parsed = nil, nil
}

// target is what a plan looks at of a request.
type target struct {
	what       string // as in Request
	path       string
	part       int
	redirected bool // it came to the port where redirects lead
}

// decide gives the fault that hits a request, nil for none, and a number to choose among its variants.
func (p *FaultPlan) decide(t target) (hit *Fault, variant uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rng == nil {
		p.rng = newRand(0)
	}
	for _, entries := range [][]*entry{p.injected, p.parsed} {
		for _, e := range entries {
			if e.matches(t) && e.fires(p.rng) {
				f := e.Fault
				return &f, p.rng.Uint64()
			}
		}
	}
	return nil, 0
}

func (e *entry) matches(t target) bool {
	switch {
	case e.What != "any" && e.What != t.what, !strings.Contains(t.path, e.Path), e.Part != 0 && e.Part != t.part:
		return false
	case e.Kind == "expired" && e.What == "any" && t.what != "put" && t.what != "part" && t.what != "complete":
		return false
	case e.Kind == "redirect" && t.redirected: // or it would go round for ever
		return false
	}
	return true
}

// fires counts a matching request and tells whether it is hit.
func (e *entry) fires(rng *rand.Rand) bool {
	e.matched++
	if e.matched <= e.After || e.Count > 0 && e.hits >= e.Count {
		return false
	}
	if e.Probability > 0 && e.Probability < 1 && rng.Float64() >= e.Probability {
		return false
	}
	e.hits++
	return true
}
