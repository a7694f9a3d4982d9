package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A sequence is what was asked of AWS and answered, in order.
type sequence struct {
	Recorded string
	Steps    []step
}

// A step is some calls, the last of them with its answer. The answer of a step
// without calls is known, its question is not.
type step struct {
	Step   string
	Calls  []call
	Answer any
}

type call struct {
	Service, Operation string
	Params             map[string]any
}

// region is that of all records.
const region = "us-east-1"

// replay is one sequence, in an account of its own.
type replay struct {
	ctx     context.Context
	clients clients
	bound   bindings
	// newest holds the newest value that answers gave to a kind of identifier,
	// named as requests name it: restApiId, VpcId.
	newest map[string]string
}

func newReplay(t testing.TB) *replay {
	id := account()
	return &replay{
		ctx:     t.Context(),
		clients: newClients(cluster(t).API, id, region),
		bound:   bindings{"<region>": region, "<partition>": "aws", ownAccount: id},
		newest:  make(map[string]string),
	}
}

// step makes the calls and returns how the last answer differs from the record.
func (r *replay) step(s step) string {
	var answer map[string]any
	for _, c := range s.Calls {
		params, _ := r.fill("", c.Params).(map[string]any)
		var err error
		if answer, err = r.clients.invoke(r.ctx, c.Service, c.Operation, params); err != nil {
			return fmt.Sprintf("%s: %v", c.Operation, err)
		}
		r.learn(c.Operation, answer)
	}
	want, have := r.shown(s, answer)
	return r.bound.diff(want, have)
}

// learn keeps the identifiers that an answer gives.
func (r *replay) learn(operation string, answer map[string]any) {
	r.learnMembers(answer)
	id, _ := answer["id"].(string)
	if noun, ok := strings.CutPrefix(operation, "Create"); ok && id != "" {
		r.newest[strings.ToLower(noun+"Id")] = id
	}
	if root, ok := answer["rootResourceId"].(string); ok {
		r.newest["resourceid"], r.newest["parentid"] = root, root
	}
}

func (r *replay) learnMembers(v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			text, isText := v[k].(string)
			if isText && strings.HasSuffix(k, "Id") && k != "parentId" {
				r.newest[strings.ToLower(k)] = text
			}
			r.learnMembers(v[k])
		}
	case []any:
		for _, e := range v {
			r.learnMembers(e)
		}
	}
}

// fill replaces the placeholders in a member of a request.
func (r *replay) fill(member string, v any) any {
	switch v := v.(type) {
	case string:
		v = accounts.ReplaceAllString(v, r.bound[ownAccount])
		return placeholder.ReplaceAllStringFunc(v, func(name string) string { return r.value(member, name) })
	case map[string]any:
		out := make(map[string]any)
		for k, e := range v {
			out[r.bound.text(k)] = r.fill(k, e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = r.fill(strings.TrimSuffix(member, "s"), e)
		}
		return out
	}
	return v
}

// value is what a placeholder stands for in a request. One that no answer has
// shown yet means the newest thing of the member's kind, or is ours to choose.
func (r *replay) value(member, name string) string {
	if v, ok := r.bound[name]; ok {
		return v
	}
	if kind, ok := strings.CutPrefix(strings.Trim(name, "<>"), "the "); ok {
		return r.newest[strings.ToLower(kind)]
	}
	if member == "parentId" { // not "the" parent, which is the root
		member = "resourceId"
	}
	v, ok := r.newest[strings.ToLower(member)]
	switch {
	case ok:
	case strings.HasPrefix(name, "<uri:"):
		v = "http://127.0.0.1:8080/" + strings.Trim(name[5:], ">")
	default:
		v = strings.ReplaceAll(strings.Trim(name, "<>"), ":", "")
	}
	r.bound[name] = v
	return v
}

// shown is an answer in the form that a step keeps: some keep a part of it.
func (r *replay) shown(s step, answer map[string]any) (want, have any) {
	if want, ok := s.Answer.(string); ok {
		return want, r.part(s.Step, answer)
	}
	want = s.Answer
	if s.Step == "available-endpoint" { // without its envelope, and the first of its names
		endpoints, _ := answer["VpcEndpoints"].([]any)
		if len(endpoints) != 1 {
			return want, answer
		}
		endpoint, _ := endpoints[0].(map[string]any)
		if names, ok := endpoint["DnsEntries"].([]any); ok && len(names) > 1 {
			endpoint["DnsEntries"] = names[:1]
		}
		return want, endpoint
	}
	if log, ok := answer["log"].(string); ok {
		shown := maps.Clone(answer)
		shown["log"] = lines(log)
		if latency, ok := answer["latency"].(float64); ok && latency >= 0 {
			shown["latency"] = "<latency>"
		}
		return want, shown
	}
	return want, answer
}

var (
	logTime   = regexp.MustCompile(`^[A-Z][a-z]{2} [A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d UTC \d{4} : `)
	dnsSuffix = regexp.MustCompile(`^vpce-[0-9a-f]+-([0-9a-z]+)\.`)
)

// lines are a log as the records show it.
func lines(log string) map[string]any {
	out := make(map[string]any)
	for i, line := range strings.Split(log, "\n") {
		out[fmt.Sprintf("line%02d", i)] = logTime.ReplaceAllString(line, "DDD MMM dd hh:mm:ss UTC yyyy : ")
	}
	return out
}

// part is the one value of an answer that a step is named after.
func (r *replay) part(name string, answer map[string]any) any {
	data, _ := json.Marshal(answer)
	var found string
	switch name {
	case "dns-suffix":
		find(answer, "DnsName", &found)
		if m := dnsSuffix.FindStringSubmatch(found); m != nil {
			return m[1]
		}
	case "network-interface-id":
		find(answer, "NetworkInterfaceIds", &found)
	default: // subnet-id: SubnetId
		member := ""
		for _, word := range strings.Split(name, "-") {
			member += strings.ToUpper(word[:1]) + word[1:]
		}
		find(answer, member, &found)
	}
	if found == "" {
		return "nothing in " + string(data)
	}
	return found
}

// find looks for the first text under a member's name, at any depth.
func find(v any, member string, found *string) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			e := v[k]
			if list, ok := e.([]any); ok && k == member && len(list) > 0 {
				e = list[0]
			}
			if text, ok := e.(string); ok && k == member && *found == "" {
				*found = text
			}
			find(e, member, found)
		}
	case []any:
		for _, e := range v {
			find(e, member, found)
		}
	}
}
