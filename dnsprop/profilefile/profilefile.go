// Package profilefile reads a custom DNS profile from YAML, as the flag
// --dns-profile-file takes it: strictly, with positions in its errors.
//
// It owns the form of the file. What a profile means, and the limits of its
// numbers, are dnsprop/propagation's, and dnsprop/resolver's of its options. Parse may be called from any goroutine.
package profilefile

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/posternhq/postern/dnsprop/propagation"
	"github.com/posternhq/postern/dnsprop/resolver"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// maxBytes bounds the profile's text: one that is written by hand has a dozen lines.
const maxBytes = 16 << 10

// Parse reads the text of a profile and returns its name and its content, which
// propagation.Resolve accepts. Files of measured delays are opened in files.
// An error begins with the line and the column that it is about.
func Parse(text []byte, files fs.FS) (name string, content *statev1.DnsProfile, err error) {
	if len(text) > maxBytes {
		return "", nil, fmt.Errorf("1:1: the profile has %d bytes, more than %d", len(text), maxBytes)
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return "", nil, syntaxError(err)
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return "", nil, errors.New("1:1: want one document with the keys of a profile")
	}
	p := profile{files: files, content: &statev1.DnsProfile{}}
	if err := eachKey(file.Docs[0].Body, p.key); err != nil {
		return "", nil, err
	}
	if p.name == "" {
		return "", nil, errors.New("1:1: the profile has no name")
	}
	return p.name, p.content, nil
}

// profile is what has been read so far.
type profile struct {
	files   fs.FS
	name    string
	content *statev1.DnsProfile
}

func (p *profile) key(key string, n ast.Node) (err error) {
	c := p.content
	switch key {
	case "name":
		p.name, err = text(n)
	case "enqueue":
		c.Enqueue, err = p.distribution(n)
	case "sync":
		c.Sync, err = p.distribution(n)
	case "pending":
		c.Endpoint, err = p.distribution(n)
	case "lost":
		c.Lost, err = number(n)
	case "positive-ttl":
		c.PositiveTtl, err = seconds(n)
	case "negative-ttl":
		c.NegativeTtl, err = seconds(n)
	case "reorder":
		c.Reorder, err = boolean(n)
	case "lag":
		c.Lag, err = duration(n)
	case "resolver":
		if c.Resolver, err = text(n); err == nil {
			if _, invalid := resolver.ParseOptions(c.Resolver); invalid != nil {
				err = at(n, "%v", invalid)
			}
		}
	default:
		return at(n, "no such key: %q is not one of name, enqueue, sync, pending, lost, positive-ttl, negative-ttl, reorder, lag, resolver", key)
	}
	if err != nil {
		return err
	}
	// What was read before is within its limits, so what is not is this key.
	name := p.name
	if name == "" && key != "name" {
		name = "unnamed"
	}
	if _, err := propagation.Resolve(name, c); err != nil {
		return at(n, "%v", err)
	}
	return nil
}

// distribution reads {KIND: …}.
func (p *profile) distribution(n ast.Node) (*statev1.DelayDistribution, error) {
	var d *statev1.DelayDistribution
	err := eachKey(n, func(kind string, n ast.Node) error {
		if d != nil {
			return at(n, "a stage has one distribution")
		}
		d = &statev1.DelayDistribution{Kind: kind}
		switch kind {
		case "fixed":
			v, err := duration(n)
			d.Values = []int64{v}
			return err
		case "uniform":
			d.Values = make([]int64, 2)
			return members(n, map[string]func(ast.Node) error{"from": into(&d.Values[0], duration), "to": into(&d.Values[1], duration)})
		case "lognormal":
			d.Values = make([]int64, 1)
			return members(n, map[string]func(ast.Node) error{"median": into(&d.Values[0], duration), "sigma": into(&d.Sigma, number)})
		case "empirical":
			name, err := text(n)
			if err != nil {
				return err
			}
			e, err := p.measured(name)
			if err != nil {
				return at(n, "%v", err)
			}
			for _, v := range e {
				d.Values = append(d.Values, int64(v))
			}
			return nil
		}
		return at(n, "distribution %q is not one of fixed, uniform, lognormal, empirical", kind)
	})
	if err == nil && d == nil {
		err = at(n, "want a distribution: fixed, uniform, lognormal or empirical")
	}
	return d, err
}

// members reads a mapping that has each of some keys.
func members(n ast.Node, want map[string]func(ast.Node) error) error {
	seen := 0
	err := eachKey(n, func(key string, n ast.Node) error {
		read := want[key]
		if read == nil {
			return at(n, "no such key: %q", key)
		}
		seen++
		return read(n)
	})
	if err == nil && seen < len(want) {
		err = at(n, "%d of %d keys are missing", len(want)-seen, len(want))
	}
	return err
}

func into[T any](v *T, read func(ast.Node) (T, error)) func(ast.Node) error {
	return func(n ast.Node) (err error) {
		*v, err = read(n)
		return err
	}
}

// eachKey calls f for each entry of a mapping with plain keys, none twice.
func eachKey(n ast.Node, f func(key string, value ast.Node) error) error {
	var entries []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		entries = m.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{m}
	default:
		return at(n, "want keys with values")
	}
	seen := map[string]bool{}
	for _, e := range entries {
		key, ok := e.Key.(*ast.StringNode)
		if !ok {
			return at(e, "want a plain key")
		}
		if seen[key.Value] {
			return at(e, "key %q is given twice", key.Value)
		}
		seen[key.Value] = true
		value := e.Value
		if value == nil {
			return at(e, "key %q has no value", key.Value)
		}
		if err := f(key.Value, value); err != nil {
			return err
		}
	}
	return nil
}

func text(n ast.Node) (string, error) {
	s, ok := n.(*ast.StringNode)
	if !ok {
		return "", at(n, "want text")
	}
	return s.Value, nil
}

func boolean(n ast.Node) (bool, error) {
	b, ok := n.(*ast.BoolNode)
	if !ok {
		return false, at(n, "want true or false")
	}
	return b.Value, nil
}

func number(n ast.Node) (float64, error) {
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		if f, err := strconv.ParseFloat(n.GetToken().Value, 64); err == nil {
			return f, nil
		}
	}
	return 0, at(n, "want a number")
}

// duration is in nanoseconds, whole milliseconds only: what is finer no
// schedule shows.
func duration(n ast.Node) (int64, error) {
	if s, ok := n.(*ast.StringNode); ok {
		if d, err := time.ParseDuration(s.Value); err == nil && d%time.Millisecond == 0 {
			return int64(d), nil
		}
	}
	return 0, at(n, "want a duration in whole milliseconds, for example 1m30s")
}

func seconds(n ast.Node) (int64, error) {
	d, err := duration(n)
	if err == nil && d%int64(time.Second) != 0 {
		err = at(n, "want a duration in whole seconds: a TTL has no finer unit")
	}
	return d / int64(time.Second), err
}

// at is an error with the position of a node.
func at(n ast.Node, format string, args ...any) error {
	line, column := 1, 1
	if n != nil && n.GetToken() != nil && n.GetToken().Position != nil {
		line, column = n.GetToken().Position.Line, n.GetToken().Position.Column
	}
	return fmt.Errorf("%d:%d: %s", line, column, fmt.Sprintf(format, args...))
}

// syntaxError is a parser's error with its position first.
func syntaxError(err error) error {
	var syntax *yaml.SyntaxError
	if !errors.As(err, &syntax) || syntax.Token == nil || syntax.Token.Position == nil {
		return fmt.Errorf("1:1: %w", err)
	}
	return fmt.Errorf("%d:%d: %s", syntax.Token.Position.Line, syntax.Token.Position.Column, syntax.Message)
}
