package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// NearMiss is one change of a request that was denied which would have it
// allowed. What stands in Value was tried.
type NearMiss struct {
	// Element is principal, action, resource, or the condition key to change.
	Element string `json:"element"`
	// Value is what it would have to be, empty if Absent.
	Value string `json:"value,omitempty"`
	// Absent: the key would have to be absent, or the caller anonymous.
	Absent bool `json:"absent,omitempty"`
	// Text says so in words, such as: if aws:SourceVpce were "vpce-1".
	Text string `json:"text"`
}

// place is a part of a request that changes as a whole.
type place struct {
	kind placeKind
	key  keyRef // of placeKey
}

type placeKind uint8

const (
	placeKey placeKind = iota
	placeTime
	placePrincipal
	placeResource
	placeAction
)

// placeOfKey: both time keys are the time of the request, and who has another
// ARN is another caller.
func placeOfKey(k *keyRef) place {
	switch k.key {
	case KeyCurrentTime, KeyEpochTime:
		return place{kind: placeTime}
	case KeyPrincipalARN:
		return place{kind: placePrincipal}
	}
	return place{kind: placeKey, key: *k}
}

func (p place) same(q place) bool { return p.kind == q.kind && p.key.name == q.key.name }

// candidate is a change to try.
type candidate struct {
	miss  NearMiss
	apply func(*Request)
	// source is the value of the policy that it was made from, if several were;
	// one of them is enough.
	source string
}

// nearMisses changes one place of the request at a time, to what statements say
// of that place, and reports the changes after which the policy allows.
//
// A silent policy can be turned by a change to what alone keeps an Allow from
// applying; a Deny only by a change to what it looks at. Whether other
// statements then agree is found out by evaluating the changed request.
func (x *explainer) nearMisses(d Decision) []NearMiss {
	var out []NearMiss
	tries := maxNearTries
	for _, p := range x.changeable(d) {
		found, source := 0, ""
		for _, c := range x.candidates(p, d) {
			if c.source != "" && c.source == source {
				continue
			}
			if tries == 0 || len(out) == maxNearMisses {
				return out
			}
			tries--
			changed := *x.req
			c.apply(&changed)
			if x.full.Eval(&changed).Effect != Allow {
				continue
			}
			out = append(out, c.miss)
			source = c.source
			if found++; found == maxNearPerPlace {
				break
			}
		}
	}
	return out
}

// changeable are the places whose change could turn the decision, in the order
// of the document, and those of conditions first.
func (x *explainer) changeable(d Decision) []place {
	var out []place
	add := func(p place) {
		if len(out) < maxNearTries && !slices.ContainsFunc(out, p.same) {
			out = append(out, p)
		}
	}
	switch d.Effect {
	case Silent:
		for i := range x.tests {
			if p, alone := x.onlyFailure(i); alone && !x.doc.statements[i].deny {
				add(p)
			}
		}
	case ExplicitDeny:
		for _, t := range x.tests[d.Statement] {
			add(t.place())
		}
	}
	slices.SortStableFunc(out, func(p, q place) int { return int(p.kind) - int(q.kind) })
	return out
}

// onlyFailure is the place that keeps a statement from applying, if it is one.
func (x *explainer) onlyFailure(i int) (p place, alone bool) {
	for j := range x.tests[i] {
		t := &x.tests[i][j]
		switch {
		case t.holds:
		case !alone:
			p, alone = t.place(), true
		case !p.same(t.place()):
			return p, false
		}
	}
	return p, alone
}

// maxNearCandidates is how many values of one place are tried.
const maxNearCandidates = 24

// candidates are changes of a place, those first that come from the statements
// which make it count.
func (x *explainer) candidates(p place, d Decision) []candidate {
	c := collector{explainer: x, place: p, seen: make(map[string]bool)}
	concerned := func(i int) bool {
		if d.Effect == ExplicitDeny {
			return i == d.Statement
		}
		q, alone := x.onlyFailure(i)
		return alone && q.same(p) && !x.doc.statements[i].deny
	}
	for _, first := range [...]bool{true, false} {
		for i := range x.tests {
			if concerned(i) != first {
				continue
			}
			for j := range x.tests[i] {
				if t := &x.tests[i][j]; len(c.list) < maxNearCandidates && p.same(t.place()) {
					c.take(t)
				}
			}
		}
	}
	c.takeGeneral()
	return c.list
}

// signedAs makes another caller of the request; what was said of the one before
// goes with him.
func signedAs(r *Request, p *Principal) {
	r.SetPrincipal(p)
	r.Extra = maps.Clone(r.Extra)
	maps.DeleteFunc(r.Extra, func(name string, _ []string) bool {
		k := refKey(name)
		return k.key == keyTag || k.key == keyOrgPaths || k.key >= KeyPrincipalARN && k.key < numKeys
	})
}

// setKey gives a key one value, or none.
func setKey(r *Request, k *keyRef, value string, absent bool) {
	r.Extra = maps.Clone(r.Extra)
	delete(r.Extra, k.name)
	switch {
	case absent && k.key < numKeys:
		r.Unset(k.key)
	case absent:
		r.Principal = r.Principal.without(k)
	case k.key < numKeys:
		r.Set(k.key, value)
	default:
		if r.Extra == nil {
			r.Extra = make(map[string][]string)
		}
		r.Extra[k.name] = []string{value}
	}
}

// without is the principal without one tag, or without organisation paths.
func (p *Principal) without(k *keyRef) *Principal {
	if p == nil || k.key != keyTag && k.key != keyOrgPaths {
		return p
	}
	q := *p
	if k.key == keyOrgPaths {
		q.OrgPaths = nil
	} else {
		q.Tags = maps.Clone(q.Tags)
		delete(q.Tags, k.tag)
	}
	return &q
}

// setTime moves the request to another time, and both time keys with it.
func setTime(r *Request, at time.Time) {
	for _, k := range [...]Key{KeyCurrentTime, KeyEpochTime} {
		r.Unset(k)
		r.Extra = maps.Clone(r.Extra)
		delete(r.Extra, strings.ToLower(k.String()))
	}
	r.Time = at
}

// resourceWords says how another resource differs: in its stage, method or path.
func resourceWords(now, then string) string {
	a, b := strings.SplitN(now, "/", 4), strings.SplitN(then, "/", 4)
	if len(a) != 4 || len(b) != 4 || a[0] != b[0] {
		return "the resource were " + plain(then)
	}
	var words []string
	for i, name := range [...]string{1: "stage", 2: "method", 3: "path"} {
		if a[i] == b[i] {
			continue
		}
		value := b[i]
		if i == 3 {
			value = "/" + value
		}
		words = append(words, fmt.Sprintf("the %s were %s", name, plain(value)))
	}
	return strings.Join(words, " and ")
}
