package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taskcluster/upload-agent/livelog"
)

// profile is a kind of run.
type profile struct {
	Name          string        `json:"name"`
	What          string        `json:"what"`
	Length        time.Duration `json:"lengthNs"`
	Line          int64         `json:"lineBytes"`
	Every         time.Duration `json:"everyNs"` // from one line to the next
	Artifacts     int           `json:"artifacts"`
	ArtifactBytes int           `json:"artifactBytes"` // of each
	AtEnd         bool          `json:"atEnd"`         // all artifacts come with the end; else one after the other while the task runs
	Weight        float64       `json:"weight"`        // in the mix of runs that are under way at a moment
}

var profiles = []profile{
	{
		Name: "quiet", What: "10 minutes, a line of 100 bytes every 6 s",
		Length: 10 * time.Minute, Line: 100, Every: 6 * time.Second, Weight: 5,
	},
	{
		Name: "chatty", What: "30 minutes, a line of 100 bytes every 100 ms",
		Length: 30 * time.Minute, Line: 100, Every: 100 * time.Millisecond, Weight: 3,
	},
	{
		Name: "tests", What: "10 minutes, a line of 100 bytes a second, 200 artifacts of 20 kB as they are written",
		Length: 10 * time.Minute, Line: 100, Every: time.Second, Artifacts: 200, ArtifactBytes: 20_000, Weight: 2,
	},
}

// mixed are the profiles with the weights of a flag such as "quiet=9,chatty=1". Those that it does not name have none.
func mixed(mix string) ([]profile, error) {
	chosen := slices.Clone(profiles)
	for i := range chosen {
		chosen[i].Weight = 0
	}
	var sum float64
	for part := range strings.SplitSeq(mix, ",") {
		name, weight, _ := strings.Cut(part, "=")
		i := slices.IndexFunc(chosen, func(p profile) bool { return p.Name == name })
		value, err := strconv.ParseFloat(weight, 64)
		if i < 0 || err != nil || !(value >= 0) || value > 1e6 {
			return nil, fmt.Errorf("mix %q: want NAME=WEIGHT,..., with the names %s", mix, names())
		}
		chosen[i].Weight = value
		sum += value
	}
	if sum == 0 {
		return nil, fmt.Errorf("mix %q: all weights are 0", mix)
	}
	return slices.DeleteFunc(chosen, func(p profile) bool { return p.Weight == 0 }), nil
}

func names() string {
	var all []string
	for _, p := range profiles {
		all = append(all, p.Name)
	}
	return strings.Join(all, ", ")
}

// defaultMix is the mix of the profiles as they are.
func defaultMix() string {
	var all []string
	for _, p := range profiles {
		all = append(all, fmt.Sprintf("%s=%g", p.Name, p.Weight))
	}
	return strings.Join(all, ",")
}

// growth is how its log grows.
func (p profile) growth(limit int64) livelog.Growth {
	return livelog.Growth{Piece: p.Line, Every: p.Every, Length: p.Length, Limit: limit}
}

// compressed is the same run in less time.
func (p profile) compressed(factor int) profile {
	p.Length /= time.Duration(factor)
	p.Every /= time.Duration(factor)
	return p
}
