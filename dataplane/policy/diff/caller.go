package diff

import (
	"slices"
	"strings"

	"github.com/posternhq/postern/dataplane/policy"
)

// A caller is written as pieces between separators, in the order in which
// texts about him mention them, so that each of these texts is a projection.
// The first space is the anonymous caller; he has no texts at all.

// callerKind is one kind of caller: his shapes, and what follows from him.
type callerKind struct {
	name         string
	edge, stated []string
	first        []string
	// facts are his own ARN ("arn"), the role behind him ("role") and condition
	// keys, each as text around the pieces. {i} is piece i.
	facts map[string]string
	// fixed are keys of the same value for all callers of the kind.
	fixed map[string]string
	edges bool // edges meet such callers
}

// exampleAccount owns the callers and APIs of witnesses if no policy says otherwise.
const exampleAccount = "123456789012"

var callerKinds = []callerKind{
	{name: "user",
		edge:   []string{"aws|{d12}||{w+}", "aws|{d12}|{W+}/|{w+}", "aws-cn|{d12}||{w+}", "aws-us-gov|{d12}||{w+}"},
		stated: []string{"{o+}|{d+}||{O+}", "{o+}|{d+}|{u*}/|{O+}"},
		first:  []string{"aws|" + exampleAccount + "||ada"},
		facts: map[string]string{
			"arn": "arn:{0}:iam::{1}:user/{2}{3}", "aws:principalarn": "arn:{0}:iam::{1}:user/{2}{3}",
			"aws:principalaccount": "{1}", "aws:username": "{3}"},
		fixed: map[string]string{"aws:principaltype": "User"}, edges: true},
	{name: "user with id",
		edge:   []string{"aws|{d12}||{w+}|AIDA{U17}", "aws|{d12}|{W+}/|{w+}|AIDA{U17}"},
		stated: []string{"{o+}|{d+}||{O+}|{u+}", "{o+}|{d+}|{u*}/|{O+}|{u+}"},
		first:  []string{"aws|" + exampleAccount + "||ada|AIDAEXAMPLEEXAMPLE123"},
		facts: map[string]string{
			"arn": "arn:{0}:iam::{1}:user/{2}{3}", "aws:principalarn": "arn:{0}:iam::{1}:user/{2}{3}",
			"aws:principalaccount": "{1}", "aws:username": "{3}", "aws:userid": "{4}"},
		fixed: map[string]string{"aws:principaltype": "User"}, edges: true},
	{name: "session",
		edge:   []string{"aws|{d12}|{w+}|{w+}", "aws-cn|{d12}|{w+}|{w+}", "aws-us-gov|{d12}|{w+}|{w+}"},
		stated: []string{"{o+}|{d+}|{O+}|{u+}"},
		first:  []string{"aws|" + exampleAccount + "|dev|ada"},
		facts: map[string]string{
			"arn": "arn:{0}:sts::{1}:assumed-role/{2}/{3}", "role": "arn:{0}:iam::{1}:role/{2}",
			"aws:principalarn": "arn:{0}:iam::{1}:role/{2}", "aws:principalaccount": "{1}"},
		fixed: map[string]string{"aws:principaltype": "AssumedRole"}, edges: true},
	{name: "session with id",
		edge:   []string{"aws|{d12}|{w+}|AROA{U17}|{w+}"},
		stated: []string{"{o+}|{d+}|{O+}|{u+}|{u+}"},
		first:  []string{"aws|" + exampleAccount + "|dev|AROAEXAMPLEEXAMPLE123|ada"},
		facts: map[string]string{
			"arn": "arn:{0}:sts::{1}:assumed-role/{2}/{4}", "role": "arn:{0}:iam::{1}:role/{2}",
			"aws:principalarn": "arn:{0}:iam::{1}:role/{2}", "aws:principalaccount": "{1}", "aws:userid": "{3}:{4}"},
		fixed: map[string]string{"aws:principaltype": "AssumedRole"}, edges: true},
	{name: "root",
		edge:   []string{"aws|{d12}", "aws-cn|{d12}", "aws-us-gov|{d12}"},
		stated: []string{"{o+}|{d+}"},
		first:  []string{"aws|" + exampleAccount},
		facts: map[string]string{
			"arn": "arn:{0}:iam::{1}:root", "aws:principalarn": "arn:{0}:iam::{1}:root",
			"aws:principalaccount": "{1}", "aws:userid": "{1}"},
		fixed: map[string]string{"aws:principaltype": "Account"}, edges: true},
	{name: "federated user",
		edge:   []string{"aws|{d12}|{w+}"},
		stated: []string{"{o+}|{d+}|{u+}"},
		first:  []string{"aws|" + exampleAccount + "|ada"},
		facts: map[string]string{
			"arn": "arn:{0}:sts::{1}:federated-user/{2}", "aws:principalarn": "arn:{0}:sts::{1}:federated-user/{2}",
			"aws:principalaccount": "{1}", "aws:userid": "{1}:{2}"},
		fixed: map[string]string{"aws:principaltype": "FederatedUser"}, edges: true},
	// No edge meets a role without a session, but queries may name one.
	{name: "role",
		stated: []string{"{o+}|{d+}||{O+}", "{o+}|{d+}|{u*}/|{O+}"},
		facts: map[string]string{
			"arn": "arn:{0}:iam::{1}:role/{2}{3}", "aws:principalarn": "arn:{0}:iam::{1}:role/{2}{3}",
			"aws:principalaccount": "{1}"},
		fixed: map[string]string{"aws:principaltype": "AssumedRole"}},
}

// callerKeys follow from the caller.
var callerKeys = []string{"aws:principalarn", "aws:principalaccount", "aws:principaltype", "aws:username", "aws:userid"}

// newCallers makes the dimension of callers. Without ids, callers whose unique
// id is known are left out: nobody asks for it.
func newCallers(ids bool, shape func(...string) language) *dimension {
	d := &dimension{name: "principal", memo: map[string]*value{}}
	d.spaces = append(d.spaces, &space{name: "anonymous", in: [numModes]bool{true, true, true}})
	for _, k := range callerKinds {
		s := &space{name: k.name, texts: true, in: [numModes]bool{k.edges, k.edges, true}, stated: &base{languages: []language{shape(k.stated...)}}}
		if strings.HasSuffix(k.name, " id") && !ids {
			s.in = [numModes]bool{}
		}
		if k.edges {
			s.edge = &base{languages: []language{shape(k.edge...)}}
			for _, f := range k.first {
				s.edge.first = append(s.edge.first, strings.ReplaceAll(f, "|", string(separator)))
			}
			s.stated.first = s.edge.first
		}
		d.spaces = append(d.spaces, s)
	}
	return d
}

// project is the inner language seen through a fact of a kind; nil if such
// callers lack it.
func (k *callerKind) project(fact string, inner language) *projection {
	form, ok := k.facts[fact]
	if !ok {
		return nil
	}
	pieces := 1 + strings.Count(k.stated[0], "|")
	p := newProjection(inner, make([]string, pieces+1), make([]bool, pieces))
	pending := "" // text that goes before the next piece
	for form != "" {
		text, rest, found := strings.Cut(form, "{")
		pending += text
		if !found {
			break
		}
		piece := int(rest[0] - '0')
		p.before[piece], pending = pending, ""
		p.keep[piece] = true
		form = rest[2:]
	}
	p.before[pieces] = pending
	return p
}

// text is a fact about a caller written as pieces.
func (k *callerKind) text(fact, encoded string) string {
	return k.project(fact, nil).apply(strings.Split(encoded, string(separator)))
}

// encode finds kind and pieces of the caller with an ARN; ok is false if the
// ARN is no caller's.
func encode(arn string) (kind int, text string, ok bool) {
	p, err := policy.ParsePrincipal(arn)
	if err != nil {
		return 0, "", false
	}
	parts := strings.SplitN(arn, ":", 6)
	_, rest, _ := strings.Cut(parts[5], "/")
	pieces := []string{parts[1], parts[4]}
	dir, name := rest[:strings.LastIndexByte(rest, '/')+1], rest[strings.LastIndexByte(rest, '/')+1:]
	var want string
	switch {
	case p.Type == policy.TypeAccount:
		want = "root"
	case p.Type == policy.TypeUser:
		want, pieces = "user", append(pieces, dir, name)
	case p.Type == policy.TypeFederatedUser:
		want, pieces = "federated user", append(pieces, rest)
	case p.ARN == p.RoleARN:
		want, pieces = "role", append(pieces, dir, name)
	default:
		role, session, _ := strings.Cut(rest, "/")
		want, pieces = "session", append(pieces, role, session)
	}
	kind = slices.IndexFunc(callerKinds, func(k callerKind) bool { return k.name == want })
	return kind, strings.Join(pieces, string(separator)), true
}
