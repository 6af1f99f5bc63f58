package main

import (
	"cmp"
	"errors"
	"slices"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/files"
)

// addArtifacts gives the run all files that the specs stand for, the small ones first: if there is little
// time left, that is how most of them are stored. What cannot be added is listed as missing.
func addArtifacts(run *agent.Run, a artifactSpecs) error {
	found, problems := files.Select(a.specs, a.where)
	slices.SortStableFunc(found, func(a, b files.File) int { return cmp.Compare(a.Size, b.Size) })
	var errs []error
	for _, f := range found {
		if err := run.AddArtifact(f.Name, f.Source, a.options); err != nil {
			name := f.Name
			if errors.Is(err, agent.ErrArtifactName) { // the name alone would not tell which is meant
				place, _ := f.Source.Place()
				name += "=" + place.Name
			}
			errs = append(errs, run.AddMissing(name, err.Error()))
		}
	}
	for _, p := range problems {
		errs = append(errs, run.AddMissing(p.Name, p.Err.Error()))
	}
	return errors.Join(errs...)
}
