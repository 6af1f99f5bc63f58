// Package config reads the agent's configuration file: YAML, checked against [schema.Config], with the place of every value.
//
// Of YAML it takes what a configuration needs: mappings, lists and scalars in one document. Anchors, aliases, tags, merge keys and a
// key given twice are refused, and a scalar is what stands there: "worker-id: 007" is 007.
// It opens no file.
package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/taskcluster/upload-agent/schema"
)

// MaxBytes is the size that a configuration may have.
const MaxBytes = 256 << 10

// File is a configuration that has been checked.
type File struct {
	name string
	root *node
}

// Value is one value of a configuration.
type Value struct {
	Text string   // of a scalar, as it stands in the file
	List []string // of a list, which Text is not for; never nil
	Line int
}

// Parse reads a configuration. name is what the errors call it. They are of type [*Error].
func Parse(name string, data []byte) (*File, error) {
	if len(data) > MaxBytes {
		return nil, &Error{File: name, Problems: []Problem{{Message: fmt.Sprintf("more than %d bytes are no configuration", MaxBytes)}}}
	}
	root, problems := read(data)
	if len(problems) > 0 {
		return nil, &Error{File: name, Problems: problems}
	}
	if err := schema.ValidateValue("config", name, root.value(), root.position); err != nil {
		return nil, errorOf(name, err)
	}
	return &File{name: name, root: root}, nil
}

// Name is that of the file.
func (f *File) Name() string { return f.name }

// Lookup finds what the file says of a flag of a command, such as "exec", or "artifact", "upload": what stands below commands, or else at the top.
func (f *File) Lookup(command []string, flag string) (Value, bool) {
	n := f.root.members["commands"]
	for _, name := range command {
		n = n.member(name)
	}
	if n = n.member(flag); n == nil {
		n = f.root.member(flag)
	}
	if n == nil {
		return Value{}, false
	}
	v := Value{Text: n.text, Line: n.line}
	if n.kind == list {
		v.Text, v.List = "", []string{}
		for _, item := range n.items {
			v.List = append(v.List, item.text)
		}
	}
	return v, n.kind != mapping
}

// Error says what is wrong with a configuration.
type Error struct {
	File     string
	Problems []Problem // at least one, in the order of the file
}

// Problem is one thing that is wrong, and where.
type Problem struct {
	Line, Column int    // from 1; 0 for the file as a whole
	Key          string // "commands.exec.grace"; "" for none
	Message      string
}

// Error gives all problems, one a line: "agent.yaml:3:5: commands.exec.grace: want ...".
func (e *Error) Error() string {
	var lines []string
	for _, p := range e.Problems {
		line := e.File + ":"
		if p.Line > 0 {
			line += fmt.Sprintf("%d:%d:", p.Line, p.Column)
		}
		if p.Key != "" {
			line += " " + p.Key + ":"
		}
		lines = append(lines, line+" "+p.Message)
	}
	return strings.Join(lines, "\n")
}

// errorOf puts what the check against the schema has found into the words of a configuration.
func errorOf(name string, err error) error {
	var invalid *schema.Error
	if !errors.As(err, &invalid) {
		return &Error{File: name, Problems: []Problem{{Message: err.Error()}}}
	}
	e := &Error{File: name}
	for _, p := range invalid.Problems {
		key := keys.Replace(strings.TrimPrefix(p.Pointer, "/"))
		message := fmt.Sprintf("want %s, got %s", p.Expected, p.Found)
		if suggestion, unknown := strings.CutPrefix(p.Expected, "no unknown member"); unknown {
			message = "unknown key" + suggestion
		}
		e.Problems = append(e.Problems, Problem{Line: p.Line, Column: p.Column, Key: key, Message: message})
	}
	return e
}

var keys = strings.NewReplacer("/", ".", "~1", "/", "~0", "~")
