package disktest

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
)

// node is a file or a folder, each with what it is now, what of it is safe, and the changes that lead from one to the other.
type node struct {
	// Of a file.
	now, safe []byte
	writes    []change
	locked    *file

	// Of a folder; nil of a file.
	names, safeNames map[string]*node
	renames          []naming
}

// change is a write, or a truncation if data is nil.
type change struct {
	offset int64
	data   []byte
}

func (c change) apply(content []byte) []byte {
	if c.data == nil {
		return resize(content, c.offset)
	}
	if end := c.offset + int64(len(c.data)); end > int64(len(content)) {
		content = resize(content, end)
	}
	copy(content[c.offset:], c.data)
	return content
}

// resize cuts content, or fills it up with zeros.
func resize(content []byte, size int64) []byte {
	old := int64(len(content))
	if size <= old {
		return content[:size]
	}
	content = slices.Grow(content, int(size-old))[:size]
	clear(content[old:])
	return content
}

// naming is a change to a folder: to now means node (nil: nothing), and from, if there is one, nothing any more.
type naming struct {
	from, to string
	node     *node
}

func (n naming) apply(names map[string]*node) {
	if n.from != "" {
		delete(names, n.from)
	}
	if n.node == nil {
		delete(names, n.to)
	} else {
		names[n.to] = n.node
	}
}

func newFolder() *node {
	return &node{names: make(map[string]*node), safeNames: make(map[string]*node)}
}

func (n *node) folder() bool { return n.names != nil }

func (n *node) change(c change) {
	n.now = c.apply(n.now)
	n.writes = append(n.writes, c)
}

// name puts child, or nothing if it is nil, under the name.
func (n *node) name(name string, child *node) { n.rename(naming{to: name, node: child}) }

func (n *node) rename(c naming) {
	c.apply(n.names)
	n.renames = append(n.renames, c)
}

// settle makes all changes safe.
func (n *node) settle() {
	for _, c := range n.writes {
		n.safe = c.apply(n.safe)
	}
	for _, c := range n.renames {
		c.apply(n.safeNames)
	}
	clear(n.writes)
	clear(n.renames)
	n.writes, n.renames = n.writes[:0], n.renames[:0]
}

// spoil forgets what was written and not synced; sizes are kept elsewhere on a disk, so truncations are not lost.
func (n *node) spoil() {
	n.writes = slices.DeleteFunc(n.writes, func(c change) bool { return c.data != nil })
}

// clone copies the node with all below it. Changes are never modified, so the copy shares them.
func (n *node) clone(done map[*node]*node) *node {
	if c, ok := done[n]; ok {
		return c
	}
	c := &node{now: bytes.Clone(n.now), safe: bytes.Clone(n.safe), writes: slices.Clone(n.writes)}
	done[n] = c
	if !n.folder() {
		return c
	}
	c.names, c.safeNames = make(map[string]*node, len(n.names)), make(map[string]*node, len(n.safeNames))
	for name, child := range n.names {
		c.names[name] = child.clone(done)
	}
	for name, child := range n.safeNames {
		c.safeNames[name] = child.clone(done)
	}
	for _, r := range n.renames {
		if r.node != nil {
			r.node = r.node.clone(done)
		}
		c.renames = append(c.renames, r)
	}
	return c
}

// afterPowerCut copies what is left of the node and of all below it.
func (n *node) afterPowerCut(random *rand.Rand) *node {
	if !n.folder() {
		now := n.contentAfterPowerCut(random)
		return &node{now: now, safe: bytes.Clone(now)}
	}
	left := newFolder()
	found := n.namesAfterPowerCut(random)
	for _, name := range slices.Sorted(maps.Keys(found)) {
		left.name(name, found[name].afterPowerCut(random))
	}
	left.settle()
	return left
}

// contentAfterPowerCut is what was safe and none of the later changes, all of them, or some, the last of them torn.
func (n *node) contentAfterPowerCut(random *rand.Rand) []byte {
	content := bytes.Clone(n.safe)
	luck := random.IntN(3)
	if luck == 0 || len(n.writes) == 0 {
		return content
	}
	through := len(n.writes)
	if luck == 1 {
		through = random.IntN(len(n.writes))
	}
	for _, c := range n.writes[:through] {
		content = c.apply(content)
	}
	if through < len(n.writes) {
		torn := n.writes[through]
		if torn.data = torn.data[:random.IntN(len(torn.data)+1)]; len(torn.data) > 0 {
			content = torn.apply(content)
		}
	}
	return content
}

func (n *node) namesAfterPowerCut(random *rand.Rand) map[string]*node {
	names := maps.Clone(n.safeNames)
	if len(n.renames) == 0 {
		return names
	}
	odds := random.IntN(3)           // of 2, that a change came through
	skipped := make(map[string]bool) // and what builds on these did not
	for _, r := range n.renames {
		if skipped[r.from] || skipped[r.to] || random.IntN(2) >= odds {
			skipped[r.to] = true
			if r.from != "" {
				skipped[r.from] = true
			}
			continue
		}
		r.apply(names)
	}
	return names
}

func (n *node) collect(path string, files map[string][]byte) {
	for name, child := range n.names {
		if at := filepath.Join(path, name); child.folder() {
			child.collect(at, files)
		} else {
			files[at] = append([]byte{}, child.now...)
		}
	}
}
