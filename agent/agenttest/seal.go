package agenttest

import (
	"maps"
	"slices"
)

// seal keeps what was stored of a run when it was reported, until it is completed: where nobody tells of what is stored later, look finds it.
func (o *order) seal(folder string, stored map[string]string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.blind && !o.completed[folder] {
		o.sealed[folder] = stored
	}
}

// look finds what of the completed runs is not as it was.
func (o *order) look() {
	o.mu.Lock()
	var folders []string
	for folder := range o.sealed {
		if o.completed[folder] {
			folders = append(folders, folder)
		}
	}
	o.mu.Unlock()
	slices.Sort(folders)
	for _, folder := range folders {
		o.mu.Lock()
		was := o.sealed[folder]
		o.mu.Unlock()
		is, err := o.objects.list(folder)
		if err != nil {
			o.violate("%s: nobody can tell whether it has changed after it was completed: %v", folder, err)
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(is)) {
			if is[key] != was[key] {
				o.violate("%s: changed after its run was completed", key)
			}
		}
		o.mu.Lock()
		o.sealed[folder] = is // what has been said is not said again
		o.mu.Unlock()
	}
}
