package policy

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Kind says what a policy is attached to; save-time rules differ.
type Kind uint8

const (
	// ResourcePolicy belongs to a REGIONAL or EDGE API.
	ResourcePolicy Kind = iota
	// PrivateResourcePolicy belongs to a PRIVATE API.
	PrivateResourcePolicy
	// EndpointPolicy belongs to a VPC endpoint.
	EndpointPolicy
)

// Sizes in characters at which policies are refused when saved. A resource
// policy is measured without white space, an endpoint policy as it was sent.
const (
	MaxResourcePolicy = 8192
	MaxEndpointPolicy = 20480
)

// Validate applies the rules of saving to a document that Parse accepted.
// Problems forbid it; warnings name what is allowed but seldom meant.
func (d *Document) Validate(kind Kind) (problems, warnings []Problem) {
	v := validator{doc: d, kind: kind}
	v.size()
	for i := range d.statements {
		v.statement(&d.statements[i])
	}
	v.sources()
	return v.problems, v.warnings
}

// Size is the length of the document in characters, without the white space
// between its elements.
func (d *Document) Size() int { return utf8.RuneCount(d.print(nil)) }

type validator struct {
	doc      *Document
	kind     Kind
	problems []Problem
	warnings []Problem
	// namesSource: some condition is on a key that only endpoint traffic has.
	namesSource bool
}

func (v *validator) fail(path string, offset int, format string, args ...any) {
	v.problems = append(v.problems, v.doc.src.problem(path, offset, format, args...))
}

func (v *validator) warn(path string, offset int, format string, args ...any) {
	v.warnings = append(v.warnings, v.doc.src.problem(path, offset, format, args...))
}

func (v *validator) size() {
	size, limit := utf8.RuneCount(v.doc.src.text), MaxEndpointPolicy
	if v.kind != EndpointPolicy {
		size, limit = v.doc.Size(), MaxResourcePolicy
	}
	if size > limit {
		v.problems = append(v.problems, Problem{
			Message: fmt.Sprintf("policy size %d exceeds the maximum limit of %d", size, limit),
		})
	}
}

func (v *validator) statement(s *statement) {
	if s.principal == nil {
		v.fail(s.path, s.offset, missingPrincipal)
	} else {
		v.principal(s)
	}
	v.action(s)
	v.resource(s)
	for i := range s.conditions {
		v.block(s.path+".Condition."+s.conditions[i].name, &s.conditions[i])
	}
}

func (v *validator) principal(s *statement) {
	p := s.principal
	path := s.path + "." + p.name
	canCall := p.anyone
	for _, t := range p.byType {
		at := path + "." + t.name
		for i, e := range t.values {
			if t.name != "AWS" {
				continue
			}
			id, _ := parseIdentity(e.text)
			if id.account != "" && len(id.account) != 12 {
				v.fail(indexed(at, t.values, i), e.offset, "account id %q must have 12 digits", id.account)
			}
			if id.kind == identityDeleted {
				v.warn(indexed(at, t.values, i), e.offset, "%q is the id of a deleted user or role and matches nobody", e.text)
				continue
			}
			canCall = true
		}
	}
	set := &p.compiled
	switch {
	case p.negated && !s.deny:
		v.warn(path, p.offset, "NotPrincipal with Allow admits everyone who is not listed, anonymous callers too; list whom to allow in Principal")
	case p.negated && !set.anyone && len(set.exact) > 0 && len(set.accounts) == 0:
		v.warn(path, p.offset, "NotPrincipal with Deny spares nobody unless it also lists the account (and for a session its role)")
	case !p.negated && !canCall:
		v.warn(path, p.offset, "the statement can never match: no principal here can call an API")
	}
}

func (v *validator) action(s *statement) {
	path := s.path + "." + s.action.name
	matches := false
	for i, e := range s.action.values {
		service, name, _ := strings.Cut(e.text, ":")
		if strings.ContainsAny(service, "*?") && service != "*" {
			v.fail(indexed(path, s.action.values, i), e.offset, "%q: the service before the colon takes no wildcards; write execute-api", e.text)
		}
		if e.text == "*" || (service == "*" || strings.EqualFold(service, invokeService)) && name != "" {
			matches = true
		}
	}
	if !matches && !s.action.negated {
		v.warn(path, s.action.offset, "the statement can never match: no action here belongs to execute-api")
	}
}

func (v *validator) resource(s *statement) {
	path := s.path + "." + s.resource.name
	never := 0
	for i, e := range s.resource.values {
		at := indexed(path, s.resource.values, i)
		v.placeholder(at, e)
		switch {
		case e.text == "*":
			continue
		case !strings.HasPrefix(e.text, "arn:") && !strings.HasPrefix(e.text, shortForm):
			v.fail(at, e.offset, `%q is not a resource; write execute-api:/stage/METHOD/path, a full ARN, or "*"`, e.text)
			continue
		case v.doc.variables() && variableBeforeResource(e.text):
			v.fail(at, e.offset, "%q: variables are allowed after the fifth colon only", e.text)
			continue
		}
		v.variableNames(at, e)
		if why := neverInvoked(e.text); why != "" {
			never++
			v.warn(at, e.offset, "%q can never match: %s", e.text, why)
		}
	}
	if never == len(s.resource.values) && never > 1 && !s.resource.negated {
		v.warn(path, s.resource.offset, "the statement can never match: none of its resources does")
	}
}

// neverInvoked says why no request to an API can have this resource, empty if
// one can.
func neverInvoked(text string) string {
	rest, short := strings.CutPrefix(text, shortForm)
	if !short {
		parts, n := splitARN(text)
		switch {
		case n < arnParts && !strings.HasSuffix(text, "*"):
			return "an ARN has six parts"
		case n > 2 && parts[2] != invokeService && !strings.ContainsAny(parts[2], "*?"):
			return "it is not of the service execute-api"
		case n < arnParts:
			return ""
		}
		var slash bool
		_, rest, slash = strings.Cut(parts[5], "/")
		if strings.ContainsAny(parts[5], "*?$") && !slash {
			return ""
		}
		if !slash {
			return "it ends at the API id; append /* for the whole API"
		}
		if api := parts[5][:len(parts[5])-len(rest)]; strings.Contains(api, "*") {
			return "" // its star may take any number of path elements
		}
	}
	stage, rest, slash := strings.Cut(rest, "/")
	if strings.ContainsAny(stage, "*$") {
		return ""
	}
	if !slash {
		return "it ends at the stage; append /* for the whole stage"
	}
	verb, _, slash := strings.Cut(rest, "/")
	switch {
	case verb == "ANY":
		return "requests have their own verb, never ANY; write *"
	case !slash && !strings.ContainsAny(verb, "*$"):
		return "it ends at the verb; append /* for all paths, or / for the root"
	}
	return ""
}

func (v *validator) block(path string, b *block) {
	for i := range b.keys {
		kv := &b.keys[i]
		at := path + "." + kv.name
		v.key(at, b, kv)
		for j, e := range kv.values {
			valuePath := indexed(at, kv.values, j)
			v.placeholder(valuePath, e)
			v.literal(valuePath, b.op.family, e)
			if b.op.family.takesVariables() {
				v.variableNames(valuePath, e)
			}
			v.sourceID(valuePath, kv.name, e)
		}
	}
}

func (v *validator) key(path string, b *block, kv *keyValues) {
	ref := refKey(kv.name)
	if ref.list && b.op.set == noSet && b.op.family != familyNull {
		v.warn(path, kv.offset, "%s holds a list; write ForAnyValue:%s or ForAllValues:%s", kv.name, b.name, b.name)
	}
	switch ref.key {
	case KeySourceVpc, KeySourceVpce, KeyVpcSourceIP:
		v.namesSource = true
		if v.kind == ResourcePolicy {
			v.warn(path, kv.offset, "%s is absent in calls to a public API", kv.name)
		}
	case KeySourceIP:
		if v.kind == PrivateResourcePolicy {
			v.warn(path, kv.offset, "aws:SourceIp is absent in calls to a private API; use aws:VpcSourceIp")
		}
	}
}

// sourceID notices an endpoint id where a VPC id belongs, and the reverse: the
// two are easily mixed up, and the result denies everybody.
func (v *validator) sourceID(path, key string, e entry) {
	switch k, ok := LookupKey(key); {
	case !ok:
	case k == KeySourceVpc && strings.HasPrefix(e.text, "vpce-"):
		v.warn(path, e.offset, "%q is an endpoint id; write it under aws:SourceVpce, or a VPC id here", e.text)
	case k == KeySourceVpce && strings.HasPrefix(e.text, "vpc-"):
		v.warn(path, e.offset, "%q is a VPC id; write it under aws:SourceVpc, or an endpoint id here", e.text)
	}
}

// literal refuses values that the operator can't read. Evaluation lets them
// match nothing, which under a negated operator means that the condition holds.
func (v *validator) literal(path string, f family, e entry) {
	ok, want := true, ""
	switch f {
	case familyNumeric:
		_, ok = parseDecimal(e.text)
		want = "a number: digits with an optional sign and point, no exponent"
	case familyDate:
		_, ok = parseInstant(e.text)
		want = "a date; write 2020-07-01T00:00:00Z, or seconds since 1970"
	case familyBool:
		ok = parseBool(e.text) >= 0 || v.doc.variables() && strings.Contains(e.text, "${")
		want = "a boolean; write true or false"
	case familyNull:
		ok = parseBool(e.text) >= 0
		want = "a boolean; write true for an absent key, false for a present one"
	case familyBinary:
		_, ok = parseBinary(e.text)
		want = "base64"
	case familyIP:
		_, ok = parseCIDR(e.text)
		want = "an address or range; write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32"
	case familyARN:
		if _, n := splitTokens(tokenize(e.text, true, v.doc.variables())); n < arnParts {
			v.warn(path, e.offset, "%q can never match: Arn operators compare six parts one by one", e.text)
		}
	}
	if !ok {
		v.fail(path, e.offset, "%q is not %s", e.text, want)
	}
}

// placeholder notices a console template that was not filled in.
func (v *validator) placeholder(path string, e entry) {
	_, rest, ok := strings.Cut(e.text, "{{")
	if name, _, closed := strings.Cut(rest, "}}"); ok && closed {
		v.warn(path, e.offset, "replace the placeholder {{%s}} by a value of your own", name)
	}
}

// variableNames notices ${...} that can't be a key, such as a default without quotes.
func (v *validator) variableNames(path string, e entry) {
	if !v.doc.variables() {
		if strings.Contains(e.text, "${") {
			v.warn(path, e.offset, `%q: ${ is literal text unless the document says "Version": %q`, e.text, version2012)
		}
		return
	}
	for _, t := range tokenize(e.text, true, true) {
		if t.kind != tokenVar {
			continue
		}
		switch {
		case t.key.name == "" || strings.ContainsAny(t.key.name, " ,'\"{$"):
			v.warn(path, e.offset, "${%s} never has a value; write ${key} or ${key, 'default'}", t.key.name)
		case t.key.list && !t.hasDefault:
			v.warn(path, e.offset, "${%s} never has a value: the key holds a list", t.key.name)
		}
	}
}

func (v *validator) sources() {
	if v.kind == PrivateResourcePolicy && !v.namesSource {
		v.warnings = append(v.warnings, Problem{
			Message: "no condition on aws:SourceVpc, aws:SourceVpce or aws:VpcSourceIp: the policy does not tell one endpoint or VPC from another",
		})
	}
}
