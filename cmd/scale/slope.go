package main

// perRun is what a run takes, and what a process takes without any.
type perRun struct {
	Base  float64 `json:"base"`
	Slope float64 `json:"slope"`
}

// at is what a process with so many runs takes.
func (p perRun) at(runs float64) float64 { return p.Base + p.Slope*runs }

// fit is the straight line that misses what was measured the least (least squares).
func fit(crowds []crowded, of func(crowded) float64) perRun {
	n := float64(len(crowds))
	if n == 0 {
		return perRun{}
	}
	var x, y, xx, xy float64
	for _, c := range crowds {
		runs, value := float64(c.Runs), of(c)
		x, y, xx, xy = x+runs, y+value, xx+runs*runs, xy+runs*value
	}
	spread := n*xx - x*x
	if spread == 0 {
		return perRun{Slope: y / x}
	}
	slope := (n*xy - x*y) / spread
	return perRun{Base: (y - slope*x) / n, Slope: slope}
}

// resources are what a crowd takes, by what was measured.
type resources struct {
	Resident, Live, Stacks, Goroutines, Descriptors, Connections perRun
}

func resourcesOf(crowds []crowded) resources {
	return resources{
		Resident:    fit(crowds, func(c crowded) float64 { return float64(c.Resident) }),
		Live:        fit(crowds, func(c crowded) float64 { return float64(c.Live) }),
		Stacks:      fit(crowds, func(c crowded) float64 { return float64(c.Stacks) }),
		Goroutines:  fit(crowds, func(c crowded) float64 { return float64(c.Goroutines) }),
		Descriptors: fit(crowds, func(c crowded) float64 { return float64(c.Descriptors) }),
		Connections: fit(crowds, func(c crowded) float64 { return float64(c.Connections) }),
	}
}
