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
	// IdentityPolicy belongs to users and roles: it names no principal and may
	// speak of any service.
	IdentityPolicy
)

// Sizes in characters beyond which policies are refused when saved. An
// endpoint policy is measured as it was sent, the others without white space.
const (
	MaxResourcePolicy = 8192
	MaxEndpointPolicy = 20480
	MaxIdentityPolicy = 6144 // of a managed policy
)

// MaxSize is how many characters a policy of the kind may have when saved.
func (k Kind) MaxSize() int {
	switch k {
	case EndpointPolicy:
		return MaxEndpointPolicy
	case IdentityPolicy:
		return MaxIdentityPolicy
	}
	return MaxResourcePolicy
}

// Validate applies the rules of saving to a document that Parse accepted.
// Problems forbid it; warnings name what is allowed but seldom meant.
func (d *Document) Validate(kind Kind) (problems, warnings []Problem) {
	v := validator{doc: d, kind: kind}
	v.size()
	if kind == IdentityPolicy {
		v.identity()
	}
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
	size, limit := v.doc.Size(), v.kind.MaxSize()
	if v.kind == EndpointPolicy {
		size = utf8.RuneCount(v.doc.src.text)
	}
	if size > limit {
		v.problems = append(v.problems, Problem{
			Message: fmt.Sprintf("policy size %d exceeds the maximum limit of %d", size, limit),
		})
	}
}

func (v *validator) statement(s *statement) {
	switch {
	case s.principal == nil && v.kind != IdentityPolicy:
		v.fail(s.path, s.offset, missingPrincipal)
	case s.principal != nil:
		v.principal(s)
	}
	v.action(s)
	v.resource(s)
	for i := range s.conditions {
		v.block(s.path+".Condition."+s.conditions[i].name, &s.conditions[i])
	}
	if k := v.doc.unsatisfiable(s, v.absent); k != nil {
		switch {
		case v.absent(&k.list[0].key):
			v.warn(k.path, k.offset, "the statement can never match: it needs a value of %s", k.name)
		case len(k.list) == 1:
			v.warn(k.path, k.offset, "the statement can never match: this condition on %s never holds", k.name)
		default:
			v.warn(k.path, k.offset, "the statement can never match: its conditions on %s exclude each other", k.name)
		}
	}
}

// absent says which keys no request to an API has.
func (v *validator) absent(k *keyRef) bool {
	switch {
	case v.kind == IdentityPolicy: // other services have other keys
		return false
	case k.key == keyExtra:
		return true
	case v.kind == ResourcePolicy:
		return endpointKey(k.key)
	}
	return false
}

// endpointKey is a key that only requests through a VPC endpoint have.
func endpointKey(k Key) bool {
	switch k {
	case KeySourceVpc, KeySourceVpce, KeySourceVpcARN, KeyVpcSourceIP:
		return true
	}
	return false
}

// identity applies what is special about policies of users and roles.
func (v *validator) identity() {
	if id := v.doc.id; id != nil {
		v.fail("Id", id.offset, "an identity policy has no Id; leave it out")
	}
	seen := make(map[string]string)
	for i := range v.doc.statements {
		s := &v.doc.statements[i]
		if p := s.principal; p != nil {
			v.fail(s.path+"."+p.name, p.offset, "an identity policy speaks for whoever carries it; leave %s out", p.name)
		}
		if s.sid == nil {
			continue
		}
		at := s.path + ".Sid"
		if first, again := seen[s.sid.text]; again {
			v.fail(at, s.sid.offset, "%q is the Sid of %s, too; write another one", s.sid.text, first)
		} else {
			seen[s.sid.text] = s.path
		}
		if !alphanumeric(s.sid.text) {
			v.fail(at, s.sid.offset, "%q: the Sid of an identity policy has letters and digits only", s.sid.text)
		}
	}
}

func alphanumeric(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') {
			return false
		}
	}
	return true
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
	switch {
	case p.negated && p.compiled.anyone:
		v.warn(path, p.offset, "the statement can never match: NotPrincipal leaves out everyone")
	case p.negated && !s.deny:
		v.warn(path, p.offset, "NotPrincipal with Allow admits everyone who is not listed, anonymous callers too; list whom to allow in Principal")
	case p.negated:
		v.spared(path, p)
	case !canCall:
		v.warn(path, p.offset, "the statement can never match: no principal here can call an API")
	}
}

// spared notices entries of a NotPrincipal with Deny that spare nobody: a caller
// is spared only if each of his levels is listed.
func (v *validator) spared(path string, p *principals) {
	set := &p.compiled
	named := make(map[string]bool)    // accounts of which a caller is listed
	sessions := make(map[string]bool) // roles, without path, of which a session is listed
	each := func(do func(at string, e entry, id identity)) {
		for _, t := range p.byType {
			for i, e := range t.values {
				if id, problem := parseIdentity(e.text); t.name == "AWS" && problem == "" {
					do(indexed(path+"."+t.name, t.values, i), e, id)
				}
			}
		}
	}
	each(func(_ string, _ entry, id identity) {
		switch id.kind {
		case identityAccount, identityAnyone, identityDeleted:
			return
		case identitySession:
			sessions[id.roleWithoutPath()] = true
		}
		named[id.account] = true
	})
	each(func(at string, e entry, id identity) {
		switch id.kind {
		case identityAnyone, identityDeleted:
		case identityAccount:
			if !named[id.account] {
				v.warn(at, e.offset, "%q spares the account's root user only; list the users, or roles and sessions, beside it", e.text)
			}
		default:
			switch {
			case !set.accounts.has(id.account):
				v.warn(at, e.offset, "%q spares nobody unless the account %q is listed, too", e.text, id.account)
			case id.kind == identitySession && !set.roles.has(id.roleWithoutPath()):
				v.warn(at, e.offset, "%q spares nobody unless its role is listed, too, as %q", e.text, id.roleWithoutPath())
			case id.kind == identityRole && !sessions[id.roleWithoutPath()]:
				v.warn(at, e.offset, "%q spares nobody unless sessions of the role are listed, too", e.text)
			}
		}
	})
}

func (v *validator) action(s *statement) {
	path := s.path + "." + s.action.name
	for i, e := range s.action.values {
		service, _, _ := strings.Cut(e.text, ":")
		if strings.ContainsAny(service, "*?") && service != "*" && e.text != "*" {
			v.fail(indexed(path, s.action.values, i), e.offset, "%q: the service before the colon takes no wildcards; write execute-api", e.text)
		}
	}
	if v.kind == IdentityPolicy {
		return
	}
	set := compileActions(s.action)
	matches := false
	for _, a := range apiActions {
		matches = matches || set.matchLower(a)
	}
	switch {
	case matches:
	case s.action.negated:
		v.warn(path, s.action.offset, "the statement can never match: NotAction leaves out every action of execute-api")
	default:
		v.warn(path, s.action.offset, "the statement can never match: no action here belongs to execute-api; it has Invoke, InvalidateCache and ManageConnections")
	}
}

// apiActions are all that is ever asked of an API, in lower case.
var apiActions = []string{"execute-api:invoke", "execute-api:invalidatecache", "execute-api:manageconnections"}

func (v *validator) resource(s *statement) {
	path := s.path + "." + s.resource.name
	never, everything := 0, false
	for i, e := range s.resource.values {
		at := indexed(path, s.resource.values, i)
		v.placeholder(at, e)
		switch {
		case e.text == "*":
			everything = true
			continue
		case v.kind == IdentityPolicy && strings.HasPrefix(e.text, shortForm):
			v.fail(at, e.offset, "%q: an identity policy belongs to no API; write the full ARN", e.text)
			continue
		case !strings.HasPrefix(e.text, "arn:") && !strings.HasPrefix(e.text, shortForm):
			v.fail(at, e.offset, `%q is not a resource; write execute-api:/stage/METHOD/path, a full ARN, or "*"`, e.text)
			continue
		case v.doc.variables() && variableBeforeResource(e.text):
			v.fail(at, e.offset, "%q: variables are allowed after the fifth colon only", e.text)
			continue
		}
		v.variableNames(at, e)
		everything = everything || e.text == shortForm+"*"
		if v.kind == IdentityPolicy {
			continue
		}
		if why := neverInvoked(e.text); why != "" {
			never++
			v.warn(at, e.offset, "%q can never match: %s", e.text, why)
		}
	}
	switch {
	case s.resource.negated && everything:
		v.warn(path, s.resource.offset, "the statement can never match: NotResource leaves out everything")
	case never == len(s.resource.values) && never > 1 && !s.resource.negated:
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
		if api := parts[5][:len(parts[5])-len(rest)]; strings.ContainsAny(api, "*?$") {
			return "" // they may stand for slashes
		}
	}
	stage, rest, slash := strings.Cut(rest, "/")
	if strings.ContainsAny(stage, "*?$") {
		return ""
	}
	if !slash {
		return "it ends at the stage; append /* for the whole stage"
	}
	verb, _, slash := strings.Cut(rest, "/")
	switch {
	case verb == "ANY":
		return "requests have their own verb, never ANY; write *"
	case !slash && !strings.ContainsAny(verb, "*?$"):
		return "it ends at the verb; append /* for all paths, or / for the root"
	case verb != strings.ToUpper(verb) && !strings.ContainsAny(verb, "*?${"):
		return "requests have their verb in upper case; write " + strings.ToUpper(verb)
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
	switch {
	case ref.key == keyExtra && v.kind != IdentityPolicy:
		v.warn(path, kv.offset, "no request to an API has the key %s%s", kv.name, suggestKey(ref.name))
	case endpointKey(ref.key):
		v.namesSource = v.namesSource || ref.key != KeySourceVpcARN
		if v.kind == ResourcePolicy {
			v.warn(path, kv.offset, "%s is absent in calls to a public API", kv.name)
		}
	case ref.key == KeySourceIP && v.kind == PrivateResourcePolicy:
		v.warn(path, kv.offset, "aws:SourceIp is absent in calls to a private API; use aws:VpcSourceIp")
	}
}

// suggestKey is a hint at the known key that a name may be a slip of, if any.
func suggestKey(name string) string {
	best, bestCost := "", 3
	for _, known := range keyNames {
		if cost := editDistance(name, strings.ToLower(known)); cost < bestCost || cost == bestCost && best != "" && len(known) == len(name) {
			best, bestCost = known, cost
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
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
