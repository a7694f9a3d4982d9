package policy_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posternhq/postern/dataplane/policy"
)

// The reference evaluator: the language a second time, straight from the text
// of its page, slow and obvious. It shares no code with the package: JSON by
// encoding/json, numbers by big.Rat, dates by the time package, wildcards by a
// table of all prefixes. It expects documents that Parse accepts.

type refDocument struct {
	Version   string
	Statement json.RawMessage
}

type refStatement struct {
	Effect                  string
	Principal, NotPrincipal any
	Action, NotAction       any
	Resource, NotResource   any
	Condition               map[string]map[string]any
}

func referenceEval(doc []byte, a ask) policy.Decision {
	var d refDocument
	refDecode(doc, &d)
	var list []refStatement
	if bytes.HasPrefix(bytes.TrimSpace(d.Statement), []byte("{")) {
		list = make([]refStatement, 1)
		refDecode(d.Statement, &list[0])
	} else {
		refDecode(d.Statement, &list)
	}

	e := refEvaluation{ask: a, variables: d.Version == "2012-10-17", context: a.refContext()}
	// Any applying Deny, else any applying Allow that names the caller himself,
	// else any that names his account, else silence.
	if i := slices.IndexFunc(list, func(s refStatement) bool { return s.Effect == "Deny" && e.applies(s) != "" }); i >= 0 {
		return policy.Decision{Effect: policy.ExplicitDeny, Statement: i}
	}
	for _, kind := range []string{"direct", "delegated"} {
		if i := slices.IndexFunc(list, func(s refStatement) bool { return s.Effect == "Allow" && e.applies(s) == kind }); i >= 0 {
			return policy.Decision{Effect: policy.Allow, Statement: i, Delegated: kind == "delegated"}
		}
	}
	return policy.Decision{Statement: -1}
}

// applies returns "", or how the statement names the caller.
func (e *refEvaluation) applies(s refStatement) string {
	if e.action(s) && e.resource(s) && e.conditions(s) {
		return e.principal(s)
	}
	return ""
}

func refDecode(text []byte, into any) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(into); err != nil {
		panic(err)
	}
}

// refContext is the whole context by lower-cased key: what was given, and what
// follows from the principal.
func (a ask) refContext() map[string][]string {
	c := map[string][]string{}
	put := func(key, value string) {
		if value != "" {
			c[key] = []string{value}
		}
	}
	if a.Principal != "" {
		f := strings.SplitN(a.Principal, ":", 6)
		account, name := f[4], f[5]
		put("aws:principalaccount", account)
		put("aws:principalarn", a.Principal)
		switch {
		case name == "root":
			put("aws:principaltype", "Account")
			put("aws:userid", account)
		case strings.HasPrefix(name, "user/"):
			put("aws:principaltype", "User")
			put("aws:username", name[strings.LastIndex(name, "/")+1:])
		case strings.HasPrefix(name, "role/"):
			put("aws:principaltype", "AssumedRole")
		case strings.HasPrefix(name, "assumed-role/"):
			put("aws:principaltype", "AssumedRole")
			put("aws:principalarn", fmt.Sprintf("arn:%s:iam::%s:role/%s", f[1], account, strings.Split(name, "/")[1]))
		case strings.HasPrefix(name, "federated-user/"):
			put("aws:principaltype", "FederatedUser")
			put("aws:userid", account+":"+strings.TrimPrefix(name, "federated-user/"))
		}
		for k, v := range a.Tags {
			c["aws:principaltag/"+k] = []string{v}
		}
	}
	for k, v := range a.Context {
		k = strings.ToLower(k)
		if len(v) == 0 {
			continue
		}
		if k == "aws:referer" || k == "aws:useragent" {
			v = []string{strings.Join(v, ",")}
			if v[0] == "" {
				continue
			}
		}
		c[k] = v
	}
	if t := c["aws:currenttime"]; t != nil && c["aws:epochtime"] == nil {
		if at, err := time.Parse(time.RFC3339, t[0]); err == nil {
			c["aws:epochtime"] = []string{strconv.FormatInt(at.Unix(), 10)}
		}
	}
	return c
}

type refEvaluation struct {
	ask       ask
	variables bool
	context   map[string][]string
}

// refList makes a list of a string, number or boolean, or a list of them.
func refList(v any) []string {
	switch v := v.(type) {
	case []any:
		var out []string
		for _, e := range v {
			out = append(out, refList(e)...)
		}
		return out
	default:
		return []string{fmt.Sprint(v)}
	}
}

// principal returns "", "direct" or "delegated".
func (e *refEvaluation) principal(s refStatement) string {
	if s.NotPrincipal == nil {
		return e.named(s.Principal)
	}
	if s.Effect == "Allow" {
		if e.named(s.NotPrincipal) == "" {
			return "direct"
		}
		return ""
	}
	// Deny: each level of the caller that is not listed is denied.
	levels := []string{"anonymous"}
	if p := e.ask.Principal; p != "" {
		f := strings.SplitN(p, ":", 6)
		root := fmt.Sprintf("arn:%s:iam::%s:root", f[1], f[4])
		switch {
		case f[5] == "root":
			levels = []string{root}
		case strings.HasPrefix(f[5], "assumed-role/"):
			levels = []string{root, e.context["aws:principalarn"][0], p}
			if given := e.ask.Context["aws:PrincipalArn"]; given != nil {
				levels[1] = fmt.Sprintf("arn:%s:iam::%s:role/%s", f[1], f[4], strings.Split(f[5], "/")[1])
			}
		default:
			levels = []string{root, p}
		}
	}
	for _, level := range levels {
		if !refListed(s.NotPrincipal, level) {
			return "direct"
		}
	}
	return ""
}

// refListed: is this one level among the entries.
func refListed(element any, level string) bool {
	if element == "*" {
		return true
	}
	for _, entry := range refList(element.(map[string]any)["AWS"]) {
		if entry == "*" {
			return true
		}
		if !strings.HasPrefix(level, "arn:") {
			continue
		}
		f := strings.SplitN(level, ":", 6)
		account := f[5] == "root"
		if account && (entry == f[4] || refRoot.MatchString(entry) && strings.Split(entry, ":")[4] == f[4]) {
			return true
		}
		if !account && (entry == level || refRole(entry) != "" && refRole(entry) == level) {
			return true
		}
	}
	return false
}

var (
	refRoot     = regexp.MustCompile(`^arn:[^:]+:iam::\d+:root$`)
	refRoleARN  = regexp.MustCompile(`^(arn:[^:]+:iam::\d+:role/)(?:.*/)?([^/]+)$`)
	refDecimal  = regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]+)?$`)
	refVariable = regexp.MustCompile(`^\$\{([^},]*?)(?: *, *'(.*?)')?\}`)
)

// refRole is a role's ARN without its path, empty for anything else.
func refRole(entry string) string {
	m := refRoleARN.FindStringSubmatch(entry)
	if m == nil {
		return ""
	}
	return m[1] + m[2]
}

// named: does a Principal element speak for the caller, and how.
func (e *refEvaluation) named(element any) string {
	if element == "*" {
		return "direct"
	}
	best := ""
	entries, ok := element.(map[string]any)["AWS"]
	if !ok {
		return ""
	}
	for _, entry := range refList(entries) {
		if entry == "*" {
			return "direct"
		}
		if e.ask.Principal == "" {
			continue
		}
		f := strings.SplitN(e.ask.Principal, ":", 6)
		if entry == f[4] || strings.HasSuffix(entry, ":iam::"+f[4]+":root") {
			if best == "" {
				best = "delegated"
			}
			continue
		}
		if entry == e.ask.Principal {
			return "direct"
		}
		if rest, ok := strings.CutPrefix(f[5], "assumed-role/"); ok {
			role, _, _ := strings.Cut(rest, "/")
			if refRole(entry) == fmt.Sprintf("arn:%s:iam::%s:role/%s", f[1], f[4], role) {
				return "direct"
			}
		}
	}
	return best
}

func (e *refEvaluation) action(s refStatement) bool {
	list, negated := s.Action, false
	if s.NotAction != nil {
		list, negated = s.NotAction, true
	}
	for _, p := range refList(list) {
		if refGlob(refPattern(strings.ToLower(p)), strings.ToLower(e.ask.Action)) {
			return !negated
		}
	}
	return negated
}

func (e *refEvaluation) resource(s refStatement) bool {
	list, negated := s.Resource, false
	if s.NotResource != nil {
		list, negated = s.NotResource, true
	}
	for _, p := range refList(list) {
		if e.oneResource(p) {
			return !negated
		}
	}
	return negated
}

func (e *refEvaluation) oneResource(text string) bool {
	if text == "*" {
		return true
	}
	arn := strings.SplitN(e.ask.Resource, ":", 6)
	if rest, ok := strings.CutPrefix(text, "execute-api:/"); ok {
		_, path, slash := strings.Cut(arn[5], "/")
		pattern, ok := e.substitute(rest, true)
		return ok && slash && arn[2] == "execute-api" && refGlob(pattern, path)
	}
	pattern, ok := e.substitute(text, true)
	if !ok {
		return false
	}
	parts := refSplit(pattern)
	if len(parts) < 6 {
		last := parts[len(parts)-1]
		if len(last) == 0 || last[len(last)-1] != (refChar{star: true}) {
			return false
		}
	}
	if e.variables { // none before the fifth colon
		depth := 0
		for i := 0; i < len(text) && depth < 5; i++ {
			if text[i] == ':' {
				depth++
			}
			if strings.HasPrefix(text[i:], "${") {
				return false
			}
		}
	}
	for i, part := range parts {
		if !refGlob(part, arn[i]) {
			return false
		}
	}
	return true
}

// refChar is one character of a pattern. Characters that a variable put there
// are literal and never separate parts.
type refChar struct {
	star, one, inserted bool
	r                   rune
}

func refPattern(s string) []refChar {
	var out []refChar
	for _, r := range s {
		out = append(out, refChar{star: r == '*', one: r == '?', r: map[bool]rune{true: 0, false: r}[r == '*' || r == '?']})
	}
	return out
}

func refLiteral(s string, inserted bool) []refChar {
	var out []refChar
	for _, r := range s {
		out = append(out, refChar{r: r, inserted: inserted})
	}
	return out
}

// substitute replaces the variables of a value; false if one has no value.
func (e *refEvaluation) substitute(s string, wildcards bool) ([]refChar, bool) {
	var out []refChar
	for s != "" {
		if e.variables && strings.HasPrefix(s, "${") {
			m := refVariable.FindStringSubmatchIndex(s)
			if m == nil {
				return nil, false
			}
			name := strings.ToLower(s[m[2]:m[3]])
			switch {
			case name == "*" || name == "?" || name == "$":
				out = append(out, refLiteral(name, true)...)
			case len(e.context[name]) == 1 && name != "aws:tagkeys" && name != "aws:principalorgpaths":
				out = append(out, refLiteral(e.context[name][0], true)...)
			case m[4] >= 0:
				out = append(out, refLiteral(s[m[4]:m[5]], true)...)
			default:
				return nil, false
			}
			s = s[m[1]:]
			continue
		}
		r := []rune(s)[:1]
		if wildcards {
			out = append(out, refPattern(string(r))...)
		} else {
			out = append(out, refLiteral(string(r), false)...)
		}
		s = s[len(string(r)):]
	}
	return out, true
}

func refSplit(p []refChar) [][]refChar {
	parts := [][]refChar{nil}
	for _, c := range p {
		if c.r == ':' && !c.inserted && len(parts) < 6 {
			parts = append(parts, nil)
			continue
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], c)
	}
	return parts
}

// refGlob fills in which prefixes of the text each prefix of the pattern matches.
func refGlob(p []refChar, text string) bool {
	s := []rune(text)
	reach := make([]bool, len(s)+1)
	reach[0] = true
	for _, c := range p {
		next := make([]bool, len(s)+1)
		for i := range next {
			switch {
			case c.star:
				next[i] = reach[i] || i > 0 && next[i-1]
			case i > 0 && (c.one || c.r == s[i-1]):
				next[i] = reach[i-1]
			}
		}
		reach = next
	}
	return reach[len(s)]
}

func refString(p []refChar) string {
	var b strings.Builder
	for _, c := range p {
		b.WriteRune(c.r)
	}
	return b.String()
}

func (e *refEvaluation) conditions(s refStatement) bool {
	for operator, keys := range s.Condition {
		for key, values := range keys {
			if !e.condition(operator, strings.ToLower(key), refList(values)) {
				return false
			}
		}
	}
	return true
}

func (e *refEvaluation) condition(operator, key string, policyValues []string) bool {
	values := e.context[key]
	name, forAll := strings.CutPrefix(operator, "ForAllValues:")
	name, forAny := strings.CutPrefix(name, "ForAnyValue:")
	name, ifExists := strings.CutSuffix(name, "IfExists")
	if name == "Null" {
		return slices.ContainsFunc(policyValues, func(v string) bool {
			return strings.EqualFold(v, "true") && len(values) == 0 || strings.EqualFold(v, "false") && len(values) > 0
		})
	}
	negated := strings.Contains(name, "Not")
	one := func(v string) bool { // this value satisfies the operator
		matched := slices.ContainsFunc(policyValues, func(p string) bool { return e.compare(name, p, v) })
		return matched != negated
	}
	if len(values) == 0 {
		switch {
		case ifExists || forAll:
			return true
		case forAny:
			return false
		}
		return negated
	}
	if (forAll || forAny) && len(values) == 1 && values[0] == "" {
		values = nil
	}
	all, anyOf := true, false
	for _, v := range values {
		if one(v) {
			anyOf = true
		} else {
			all = false
		}
	}
	if forAll || negated && !forAny { // negated on a list: no value may match
		return all
	}
	return anyOf
}

// compare is the positive form of an operator on one pair of values.
func (e *refEvaluation) compare(name, p, v string) bool {
	name = strings.Replace(name, "Not", "", 1)
	switch {
	case strings.HasPrefix(name, "String") || name == "Bool":
		pattern, ok := e.substitute(p, name == "StringLike")
		if !ok {
			return false
		}
		switch name {
		case "StringLike":
			return refGlob(pattern, v)
		case "StringEquals":
			return refString(pattern) == v
		case "Bool":
			return (strings.EqualFold(v, "true") || strings.EqualFold(v, "false")) && strings.EqualFold(refString(pattern), v)
		}
		return strings.EqualFold(refString(pattern), v)
	case strings.HasPrefix(name, "Arn"):
		pattern, ok := e.substitute(p, true)
		parts, arn := refSplit(pattern), strings.SplitN(v, ":", 6)
		if !ok || len(parts) != 6 || len(arn) != 6 {
			return false
		}
		for i := range parts {
			if !refGlob(parts[i], arn[i]) {
				return false
			}
		}
		return true
	case strings.HasPrefix(name, "Numeric"):
		a, okA := refNumber(v)
		b, okB := refNumber(p)
		return okA && okB && refOrder(name, a.Cmp(b))
	case strings.HasPrefix(name, "Date"):
		a, okA := refDate(v)
		b, okB := refDate(p)
		return okA && okB && refOrder(name, a.Compare(b))
	case name == "BinaryEquals":
		b, err := base64.StdEncoding.DecodeString(p)
		return err == nil && string(b) == v
	case name == "IpAddress":
		a, err := netip.ParseAddr(v)
		if err != nil {
			return false
		}
		a = a.Unmap()
		if !strings.Contains(p, "/") {
			b, err := netip.ParseAddr(p)
			return err == nil && a == b.Unmap()
		}
		n, err := netip.ParsePrefix(p)
		if err == nil && n.Addr().Is4In6() && n.Bits() >= 96 {
			n, err = n.Addr().Unmap().Prefix(n.Bits() - 96)
		}
		return err == nil && n.Contains(a)
	}
	panic("operator " + name)
}

func refOrder(name string, c int) bool {
	switch {
	case strings.HasSuffix(name, "LessThan"):
		return c < 0
	case strings.HasSuffix(name, "LessThanEquals"):
		return c <= 0
	case strings.HasSuffix(name, "GreaterThan"):
		return c > 0
	case strings.HasSuffix(name, "GreaterThanEquals"):
		return c >= 0
	}
	return c == 0
}

func refNumber(s string) (*big.Rat, bool) {
	if !refDecimal.MatchString(s) {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}

func refDate(s string) (time.Time, bool) {
	for _, layout := range []string{
		"2006", "2006-01", "2006-01-02", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05Z07:00",
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && !strings.HasPrefix(s, "+") {
		return time.Unix(n, 0), true
	}
	return time.Time{}, false
}
