package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The sentences of an Explanation. Each says what the request has, then what
// the policy wants, and is true of elements that hold and of those that don't.

func sortByOffset(tests []elementTest) {
	slices.SortStableFunc(tests, func(a, b elementTest) int { return a.offset - b.offset })
}

func (x *explainer) conditionText(t *elementTest) string {
	f := x.req.lookup(&t.condition.key)
	op, name := t.block.op, t.block.name
	verb := "fails"
	if t.holds {
		verb = "holds"
	}
	want := wanted(op, t.key.values)
	switch {
	case op.family == familyNull:
		return hadText(f) + ", the policy wants it " + nullWanted(t.condition, t.key.values)
	case f.n == 0:
		text := fmt.Sprintf("absent, and %s %s for an absent key", name, verb)
		if !t.holds {
			text += "; the policy wants " + want
		}
		return text
	case op.set != noSet && f.n == 1 && f.at(0) == "":
		return fmt.Sprintf(`is "", an empty set, and %s %s for an empty set`, name, verb)
	}
	switch {
	case op.set == forAllValues, op.set == noSet && f.n > 1 && op.negated:
		want = "each value to be " + want
	case op.set == forAnyValue, f.n > 1:
		want = "some value to be " + want
	}
	text := hadText(f)
	if f.n == 1 {
		if kind := op.family.unreadable(f.at(0), false); kind != "" {
			text += ", which is no " + kind
		}
	}
	text += ", the policy wants " + want
	return text + x.valueNotes(op, t.key.values)
}

func hadText(f found) string {
	switch f.n {
	case 0:
		return "absent"
	case 1:
		return "is " + quote(f.at(0))
	}
	var list []string
	for i := range min(f.n, maxShownValues) {
		list = append(list, quote(f.at(i)))
	}
	return "is [" + joined(list, f.n) + "]"
}

// joined is a list of which only the beginning may be there.
func joined(list []string, n int) string {
	text := strings.Join(list, ", ")
	if more := n - len(list); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// wanted names what an operator accepts.
func wanted(op operator, values entries) string {
	list := make([]string, 0, min(len(values), maxShownValues))
	for _, v := range values[:min(len(values), maxShownValues)] {
		switch op.family {
		case familyNumeric, familyDate, familyIP:
			list = append(list, plain(v.text))
		default:
			list = append(list, quote(v.text))
		}
	}
	one := joined(list, len(values))
	if len(values) > 1 {
		one = "one of " + one
	}
	var text string
	switch op.family {
	case familyString, familyBool:
		text = one
	case familyStringFold:
		text = one + " in any case"
	case familyStringLike:
		text = "text like " + one
	case familyNumeric:
		text = "a number " + [...]string{equal: "equal to", less: "less than", lessOrEqual: "at most", greater: "greater than", greaterOrEqual: "at least"}[op.comparison] + " " + one
	case familyDate:
		text = "a time " + [...]string{equal: "equal to", less: "before", lessOrEqual: "not after", greater: "after", greaterOrEqual: "not before"}[op.comparison] + " " + one
	case familyBinary:
		text = "the bytes of " + one + " in base64"
	case familyIP:
		text = "an address in " + one
	case familyARN:
		text = "an ARN like " + one
	}
	if op.negated {
		return "anything but " + text
	}
	return text
}

func nullWanted(c *condition, values entries) string {
	switch c.bools {
	case [2]bool{false, true}:
		return "absent"
	case [2]bool{true, false}:
		return "present"
	case [2]bool{true, true}:
		return "absent or present"
	}
	return quote(values[0].text) + ", which is neither true nor false"
}

// unreadable names what a value should have been but is not, empty if it can be
// read. Of the policy's values a network is expected where a request has an
// address.
func (f family) unreadable(v string, inPolicy bool) string {
	ok, kind := true, ""
	switch f {
	case familyNumeric:
		_, ok = parseDecimal(v)
		kind = "number"
	case familyDate:
		_, ok = parseInstant(v)
		kind = "time"
	case familyBool:
		ok, kind = parseBool(v) >= 0, "boolean"
	case familyBinary:
		if inPolicy {
			_, ok = parseBinary(v)
			kind = "base64"
		}
	case familyIP:
		if inPolicy {
			_, ok = parseCIDR(v)
			kind = "range of addresses"
		} else {
			_, ok = parseAddr(v)
			kind = "address"
		}
	case familyARN:
		_, n := splitARN(v)
		ok, kind = n == arnParts, "ARN of six parts"
	}
	if ok {
		return ""
	}
	return kind
}

// valueNotes tells of the first value of the policy that can match nothing.
func (x *explainer) valueNotes(op operator, values entries) string {
	for _, v := range values[:min(len(values), maxShownValues)] {
		variables := variableTokens(x.doc, op, v.text)
		for i := range variables {
			if _, ok := variables[i].resolve(x.req); !ok {
				return fmt.Sprintf("; ${%s} has no value, so %s matches nothing", plain(variables[i].key.String()), quote(v.text))
			}
		}
		if len(variables) == 0 {
			if kind := op.family.unreadable(v.text, true); kind != "" {
				return fmt.Sprintf("; %s is no %s and matches nothing", quote(v.text), kind)
			}
			if op.family == familyString && strings.ContainsAny(v.text, "*?") {
				return "; here * and ? are no wildcards, StringLike has them"
			}
		}
	}
	return ""
}

func variableTokens(d *Document, op operator, text string) []token {
	if !d.variables() || !op.family.takesVariables() {
		return nil
	}
	return variablesOf(text)
}

// elementText is for Action and Resource.
func elementText(e *element, had string) string {
	list := make([]string, 0, maxShownValues)
	for _, v := range e.values[:min(len(e.values), maxShownValues)] {
		list = append(list, plain(v.text))
	}
	want := joined(list, len(e.values))
	if len(e.values) > 1 {
		want = "one of " + want
	}
	if e.negated {
		want = "anything but " + want
	}
	return "is " + plain(had) + ", the policy wants " + want
}

// resourceHint says why a Resource that lists one pattern does not match.
func (x *explainer) resourceHint(t *elementTest) string {
	e := t.element
	if t.holds || e.negated || len(e.values) != 1 {
		return ""
	}
	text := e.values[0].text
	short := strings.HasPrefix(text, shortForm)
	pattern, n := splitARN(text)
	switch {
	case short:
	case x.doc.variables() && strings.Contains(strings.Join(pattern[:min(n, arnColon)], ":"), "${"):
		return "; a variable before the fifth colon matches nothing"
	case n < arnParts && !strings.HasSuffix(text, "*"):
		return "; an ARN of fewer than six parts that does not end in * matches nothing"
	}
	if x.doc.variables() {
		for _, v := range variablesOf(text) {
			if _, ok := v.resolve(x.req); !ok {
				return fmt.Sprintf("; ${%s} has no value, so the pattern matches nothing", plain(v.key.String()))
			}
		}
	}
	if short {
		return ""
	}
	had, _ := splitARN(string(x.req.Resource))
	for i, name := range [arnColon]string{"scheme", "partition", "service", "region", "account"} {
		if p := parsePattern(pattern[i], true, false); i < n && !p.match(had[i], nil) {
			return "; the " + name + " differs"
		}
	}
	if strings.HasPrefix(string(x.req.Resource), text+"/") {
		return "; write " + plain(text+"/*") + " for all below it"
	}
	return ""
}

// wholeAPI says that a Resource leaves out nothing of the API.
func wholeAPI(e *element) bool {
	return !e.negated && slices.ContainsFunc(e.values, func(v entry) bool {
		parts, n := splitARN(v.text)
		if v.text == "*" || v.text == shortForm+"*" || n < arnParts {
			return true
		}
		_, rest, _ := strings.Cut(parts[arnColon], "/")
		return parts[arnColon] == "*" || rest == "*"
	})
}

func principalText(s *statement, g grant, p *Principal) string {
	set, who := &s.principal.compiled, "the caller is anonymous"
	if p != nil {
		who = "the caller is " + plain(p.ARN)
	}
	entries := s.principal.entries()
	list := make([]string, 0, maxShownValues)
	for _, v := range entries[:min(len(entries), maxShownValues)] {
		list = append(list, plain(v.text))
	}
	want := joined(list, len(entries))
	if len(entries) > 1 {
		want = "one of " + want
	}
	switch {
	case s.principal.negated && !s.deny && g == grantNone:
		return who + ", the policy wants anyone but " + want
	case s.principal.negated && !s.deny:
		return who + ", who is not " + want
	case s.principal.negated && g == grantNone:
		return who + ", who is listed at every level and so spared"
	case s.principal.negated:
		return who + ", and " + set.unlisted(p)
	case set.anyone:
		return "everyone"
	case g == grantNone:
		if len(entries) == 0 {
			want = "nobody"
		} else if set.exact.size()+set.accounts.size() == 0 {
			want += ", which never calls an API"
		}
		return who + ", the policy wants " + want
	case g == grantDelegate:
		return who + ", whose account " + plain(p.Account) + " is named; there his own policies must allow too"
	case set.namesSelf(p):
		return who + ", who is named"
	}
	return who + ", whose role " + plain(p.RoleARN) + " is named"
}

// unlisted says at which level a NotPrincipal of a Deny does not spare a caller.
func (s *principalSet) unlisted(p *Principal) string {
	switch {
	case p == nil:
		return "NotPrincipal spares no anonymous callers"
	case !s.accounts.has(p.Account):
		return "NotPrincipal does not list his account " + plain(p.Account)
	case p.Type == TypeAssumedRole && !s.namesRole(p):
		return "NotPrincipal does not list his role " + plain(p.RoleARN)
	}
	return "NotPrincipal does not list him beside his account"
}

// quote shows a value of policy or request between quotation marks.
func quote(s string) string { return strconv.Quote(shown(s)) }

// plain shows an ARN, a name or a number as it is, and quotes whatever could be
// mistaken for a part of the sentence, or upset a terminal.
func plain(s string) string {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == ',' || c == ';' {
			return quote(s)
		}
	}
	if s == "" {
		return `""`
	}
	return shown(s)
}
