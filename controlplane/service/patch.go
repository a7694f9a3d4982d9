package service

import (
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
)

// maxPatchOperations bounds the work of one request. AWS publishes no number.
const maxPatchOperations = 1000

// patchTable is what a PATCH may do to one resource. Rows are tried in order.
type patchTable[M proto.Message] struct {
	rows []patchRow[M]
	// refuse words the refusal of an operation that no row takes. ops holds the
	// operations of the rows whose path matches; it is empty if none does.
	refuse func(t *patchTable[M], p *patch, ops []string) error
}

// patchRow is one path. An element "{}" of the path stands for any one element
// of the request's path, "{...}" for one or more.
type patchRow[M proto.Message] struct {
	path  string
	ops   []string
	apply func(m M, p *patch) error
}

// patch is one operation, its path taken apart.
type patch struct {
	op    string
	path  string // as given; "null" if it was not
	value string // "" if it was not given
	from  string
	// args are the elements that the row's wildcards stand for, unescaped;
	// raw are the same as they were given.
	args, raw []string
}

// apply returns m changed by all operations, in order. m itself stays as it is,
// so an operation that fails takes the whole request with it.
func (t *patchTable[M]) apply(m M, ops []*awsv1.PatchOperation) (M, error) {
	var none M
	if len(ops) > maxPatchOperations {
		return none, apierr.BadRequest("Too many patch operations: %d, at most %d are allowed", len(ops), maxPatchOperations)
	}
	changed := proto.CloneOf(m)
	for _, op := range ops {
		p := &patch{op: op.GetOp(), path: op.GetPath(), value: op.GetValue(), from: op.GetFrom()}
		if op.GetOp() == "" {
			p.op = "null"
		}
		if op.Path == nil {
			p.path = "null"
		}
		if err := t.applyOne(changed, p); err != nil {
			return none, err
		}
	}
	return changed, nil
}

func (t *patchTable[M]) applyOne(m M, p *patch) error {
	elements := strings.Split(p.path, "/")
	var allowed []string
	for i := range t.rows {
		row := &t.rows[i]
		raw, ok := matchPath(row.path, elements)
		if !ok {
			continue
		}
		if !slices.Contains(row.ops, p.op) {
			allowed = append(allowed, row.ops...)
			continue
		}
		p.raw, p.args = raw, make([]string, len(raw))
		for j, element := range raw {
			p.args[j] = unescapePointer(element)
		}
		return row.apply(m, p)
	}
	return t.refuse(t, p, allowed)
}

// matchPath compares a row's path with the elements of a request's path and
// returns what the wildcards stand for. A wildcard never stands for nothing.
func matchPath(path string, elements []string) (args []string, ok bool) {
	want := strings.Split(path, "/")
	for i, w := range want {
		switch {
		case w == "{...}":
			// Whatever follows the wildcard in the row must be at the end.
			n := len(elements) - i - (len(want) - i - 1)
			if n < 1 {
				return nil, false
			}
			joined := strings.Join(elements[i:i+n], "/")
			rest, ok := matchPath(strings.Join(want[i+1:], "/"), elements[i+n:])
			if len(want) == i+1 {
				rest, ok = nil, true
			}
			if !ok || joined == "" {
				return nil, false
			}
			return append(append(args, joined), rest...), true
		case i >= len(elements):
			return nil, false
		case w == "{}":
			if elements[i] == "" {
				return nil, false
			}
			args = append(args, elements[i])
		case w != elements[i]:
			return nil, false
		}
	}
	return args, len(want) == len(elements)
}

// pointerEscapes are those of JSON Pointer (RFC 6901 section 4).
var pointerEscapes = strings.NewReplacer("~1", "/", "~0", "~")

func unescapePointer(s string) string { return pointerEscapes.Replace(s) }

// refuseClassic words refusals as RestApi, Method, Integration and their
// responses do.
func refuseClassic[M proto.Message](_ *patchTable[M], p *patch, ops []string) error {
	if len(ops) == 0 {
		return apierr.BadRequest("Invalid patch path %s", p.path)
	}
	return apierr.BadRequest("Invalid patch operation specified. Must be one of: [%s]", strings.Join(ops, ", "))
}

// refuseModern words refusals as Resource, Model and RequestValidator do.
func refuseModern[M proto.Message](t *patchTable[M], p *patch, _ []string) error {
	var paths []string
	for i := range t.rows {
		if slices.Contains(t.rows[i].ops, p.op) {
			paths = append(paths, t.rows[i].path)
		}
	}
	if len(paths) == 0 {
		return apierr.BadRequest("Invalid patch path  '%s' specified for op '%s'. Please choose supported operations", p.path, p.op)
	}
	return apierr.BadRequest("Invalid patch path  '%s' specified for op '%s'. Must be one of: [%s]", p.path, p.op, strings.Join(paths, ", "))
}

// Operations in the order in which AWS prints them.
var (
	opsReplace       = []string{"replace"}
	opsReplaceRemove = []string{"replace", "remove"}
	opsAddReplace    = []string{"add", "replace"}
	opsAddRemove     = []string{"add", "remove"}
	opsEdit          = []string{"add", "remove", "replace"}
	opsRemove        = []string{"remove"}
	opsCopy          = []string{"copy"}
)

// setString is a row's function for a member that an empty value or a remove
// clears.
func setString[M proto.Message](member func(M) **string) func(M, *patch) error {
	return func(m M, p *patch) error {
		if p.op == "remove" || p.value == "" {
			*member(m) = nil
		} else {
			*member(m) = new(p.value)
		}
		return nil
	}
}

// setDescription is setString for members that AWS refuses to set empty.
func setDescription[M proto.Message](member func(M) **string) func(M, *patch) error {
	return func(m M, p *patch) error {
		if p.op != "remove" && p.value == "" {
			return errEmptyDescription()
		}
		return setString(member)(m, p)
	}
}

func errEmptyDescription() error {
	return apierr.BadRequest("Description cannot be an empty string")
}

// setBool is a row's function for a boolean.
func setBool[M proto.Message](member func(M) **bool) func(M, *patch) error {
	return func(m M, p *patch) error {
		*member(m) = new(isTrue(p.value))
		return nil
	}
}

// isTrue reads a boolean as AWS does: whatever isn't "true" is false.
func isTrue(value string) bool { return strings.EqualFold(value, "true") }

// setInt is a row's function for a whole number within bounds.
func setInt[M proto.Message](member func(M) **int32, low, high int32, refusal func() error) func(M, *patch) error {
	return func(m M, p *patch) error {
		n, err := strconv.ParseInt(p.value, 10, 32)
		if err != nil || int32(n) < low || int32(n) > high {
			return refusal()
		}
		*member(m) = new(int32(n))
		return nil
	}
}

// Refusals of operations on a map's entry that does not exist.
func errNoParameter(*patch) error   { return apierr.NotFound("Invalid parameter name specified") }
func errNoContentType(*patch) error { return apierr.NotFound("Content-Type specified was not found") }

// mapEntry tells how to change one entry of a map member.
type mapEntry[M proto.Message, V any] struct {
	entries func(M) map[string]V    // nil if there are none
	set     func(M, map[string]V)   // nil clears
	parse   func(string) (V, error) // the value of an operation
	missing func(*patch) error      // refusal of an entry that should exist
	// upsert: replace makes an entry that does not exist.
	upsert bool
}

// apply is a row's function: the row's last wildcard is the entry's key.
func (e mapEntry[M, V]) apply(m M, p *patch) error {
	key := p.args[len(p.args)-1]
	entries := e.entries(m)
	if _, exists := entries[key]; !exists && p.op != "add" && !(e.upsert && p.op == "replace") {
		return e.missing(p)
	}
	if p.op == "remove" {
		delete(entries, key)
		if len(entries) == 0 {
			entries = nil // a map emptied by PATCH is omitted
		}
		e.set(m, entries)
		return nil
	}
	v, err := e.parse(p.value)
	if err != nil {
		return err
	}
	if entries == nil {
		entries = make(map[string]V)
	}
	entries[key] = v
	e.set(m, entries)
	return nil
}

// stringEntries is a mapEntry of a StringMap member.
func stringEntries[M proto.Message](member func(M) **awsv1.StringMap) mapEntry[M, string] {
	return mapEntry[M, string]{
		entries: func(m M) map[string]string { return (*member(m)).GetEntries() },
		set: func(m M, entries map[string]string) {
			*member(m) = nil
			if entries != nil {
				*member(m) = &awsv1.StringMap{Entries: entries}
			}
		},
		parse:   func(s string) (string, error) { return s, nil },
		missing: errNoParameter,
	}
}

// boolEntries is a mapEntry of a BoolMap member.
func boolEntries[M proto.Message](member func(M) **awsv1.BoolMap) mapEntry[M, bool] {
	return mapEntry[M, bool]{
		entries: func(m M) map[string]bool { return (*member(m)).GetEntries() },
		set: func(m M, entries map[string]bool) {
			*member(m) = nil
			if entries != nil {
				*member(m) = &awsv1.BoolMap{Entries: entries}
			}
		},
		parse:   func(s string) (bool, error) { return isTrue(s), nil },
		missing: errNoParameter,
	}
}

// templateEntries is a mapEntry of templates by content type.
func templateEntries[M proto.Message](member func(M) **awsv1.NullableStringMap) mapEntry[M, *awsv1.NullableString] {
	return mapEntry[M, *awsv1.NullableString]{
		entries: func(m M) map[string]*awsv1.NullableString { return (*member(m)).GetEntries() },
		set: func(m M, entries map[string]*awsv1.NullableString) {
			*member(m) = nil
			if entries != nil {
				*member(m) = &awsv1.NullableStringMap{Entries: entries}
			}
		},
		parse: func(s string) (*awsv1.NullableString, error) {
			if s == "" {
				return &awsv1.NullableString{}, nil // an empty template reads back as null
			}
			return &awsv1.NullableString{Value: new(s)}, nil
		},
		missing: errNoContentType,
		upsert:  true,
	}
}
