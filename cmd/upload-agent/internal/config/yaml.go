package config

import (
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

type kind int

const (
	text kind = iota
	number
	boolean
	null
	list
	mapping
)

// node is a value and where it stands.
type node struct {
	kind                 kind
	text                 string
	items                []*node
	members              map[string]*node
	line, column         int
	nameLine, nameColumn int // of the key that it stands behind, if any
}

// member is nil where there is none.
func (n *node) member(name string) *node {
	if n == nil {
		return nil
	}
	return n.members[name]
}

// value is the value as [schema.ValidateValue] wants it.
func (n *node) value() any {
	switch n.kind {
	case number:
		return json.Number(n.text)
	case boolean:
		return n.text == "true"
	case null:
		return nil
	case list:
		all := []any{}
		for _, item := range n.items {
			all = append(all, item.value())
		}
		return all
	case mapping:
		all := map[string]any{}
		for name, member := range n.members {
			all[name] = member.value()
		}
		return all
	}
	return n.text
}

// position is where a value stands, or its key, or the innermost value around it that there is.
func (n *node) position(path []string, name bool) (line, column int) {
	for _, step := range path {
		next := n.members[step]
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(n.items) {
			next = n.items[i]
		}
		if next == nil {
			return n.line, n.column
		}
		n = next
	}
	if name && n.nameLine > 0 {
		return n.nameLine, n.nameColumn
	}
	return n.line, n.column
}

// read reads YAML; what is not there is an empty mapping.
func read(data []byte) (*node, []Problem) {
	if !utf8.Valid(data) {
		return nil, []Problem{{Message: "want UTF-8 text"}}
	}
	file, err := parse(data)
	if err != nil {
		var broken *yaml.SyntaxError
		if errors.As(err, &broken) && broken.Token != nil {
			return nil, []Problem{problemAt(broken.Token, broken.Message)}
		}
		return nil, []Problem{{Message: err.Error()}}
	}
	r := reader{}
	var root *node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if root != nil {
			r.refuse(doc.Body, "a configuration is one document")
			break
		}
		root = r.node(doc.Body)
	}
	if root == nil || root.kind == null {
		root = &node{kind: mapping, line: 1, column: 1}
	}
	return root, r.problems
}

// errUnreadable stands for a panic of the parser, which some broken files cause.
var errUnreadable = errors.New("not YAML")

func parse(data []byte) (file *ast.File, err error) {
	defer func() {
		if recover() != nil {
			file, err = nil, errUnreadable
		}
	}()
	return parser.ParseBytes(data, 0)
}

type reader struct{ problems []Problem }

func problemAt(at *token.Token, message string) Problem {
	return Problem{Line: at.Position.Line, Column: at.Position.Column, Message: message}
}

func (r *reader) refuse(n ast.Node, message string) {
	r.problems = append(r.problems, problemAt(n.GetToken(), message))
}

// plainNumber is what is a number in JSON too, but for zeros in front.
var plainNumber = regexp.MustCompile(`^-?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?$`)

func (r *reader) node(from ast.Node) *node {
	at := from.GetToken()
	n := &node{line: at.Position.Line, column: at.Position.Column, text: at.Value}
	switch from := from.(type) {
	case *ast.MappingNode:
		r.members(n, from.Values)
		if !from.IsFlowStyle && len(from.Values) > 0 {
			n.line, n.column = place(from.Values[0].Key)
		}
	case *ast.MappingValueNode:
		r.members(n, []*ast.MappingValueNode{from})
		n.line, n.column = place(from.Key)
	case *ast.SequenceNode:
		n.kind = list
		for _, item := range from.Values {
			n.items = append(n.items, r.node(item))
		}
	case *ast.StringNode:
		n.text = from.Value
	case *ast.LiteralNode:
		n.text = from.Value.Value
	case *ast.IntegerNode, *ast.FloatNode:
		if plainNumber.MatchString(n.text) {
			n.kind = number
		}
	case *ast.BoolNode:
		n.kind, n.text = boolean, strconv.FormatBool(from.Value)
	case *ast.NullNode:
		n.kind = null
	case *ast.InfinityNode, *ast.NanNode:
	default:
		r.refuse(from, "anchors, aliases and tags have no place in a configuration")
	}
	return n
}

func place(n ast.Node) (line, column int) {
	at := n.GetToken().Position
	return at.Line, at.Column
}

func (r *reader) members(n *node, values []*ast.MappingValueNode) {
	n.kind, n.members = mapping, map[string]*node{}
	for _, v := range values {
		key := v.Key.GetToken()
		name := key.Value
		if !slices.Contains([]ast.NodeType{ast.StringType, ast.IntegerType, ast.FloatType, ast.BoolType, ast.NullType}, v.Key.Type()) {
			r.refuse(v.Key, "want the name of a flag as key")
			continue
		}
		if _, twice := n.members[name]; twice {
			p := problemAt(key, "the key is given twice")
			p.Key = name
			r.problems = append(r.problems, p)
			continue
		}
		member := r.node(v.Value)
		member.nameLine, member.nameColumn = place(v.Key)
		if member.kind == null { // it may stand nowhere
			member.line, member.column = member.nameLine, member.nameColumn
		}
		n.members[name] = member
	}
}
