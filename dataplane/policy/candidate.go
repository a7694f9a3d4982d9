package policy

import (
	"cmp"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// collector gathers candidates for one place of a request. Values of the policy
// become values of a request: patterns one text that they match, ranges one
// address or number in them and one outside. None is believed; they are tried.
type collector struct {
	*explainer
	place place
	list  []candidate
	seen  map[string]bool
	text  bool // some condition compares the place as text
	// source goes into each candidate that is added.
	source string
}

// add notes a candidate unless it is known or there are enough.
func (c *collector) add(m NearMiss, apply func(*Request)) {
	id := m.Value
	if m.Absent {
		id = "\x00absent"
	}
	if c.seen[id] || len(c.list) >= maxNearCandidates+2 { // two are of takeGeneral
		return
	}
	c.seen[id] = true
	c.list = append(c.list, candidate{m, apply, c.source})
}

// take adds what an element or condition says of the place.
func (c *collector) take(t *elementTest) {
	switch {
	case t.principal != nil:
		for _, v := range t.principal.entries() {
			c.entry(v.text)
		}
	case t.condition != nil:
		c.condition(t)
	case c.place.kind == placeAction:
		for _, v := range t.element.values {
			if !strings.ContainsAny(v.text, "*?") {
				c.add(NearMiss{Element: "action", Value: v.text, Text: "if the action were " + plain(v.text)}, func(r *Request) { r.Action = v.text })
			}
		}
	default:
		for _, v := range t.element.values {
			c.resource(v.text)
		}
	}
}

// takeGeneral adds what can be tried whatever the policy says.
func (c *collector) takeGeneral() {
	switch c.place.kind {
	case placePrincipal:
		c.add(NearMiss{Element: "principal", Absent: true, Text: "if the caller were anonymous"}, func(r *Request) { signedAs(r, nil) })
	case placeKey:
		name := c.place.key.String()
		for i := range c.tests {
			for j := range c.tests[i] {
				if t := &c.tests[i][j]; t.condition != nil && t.condition.key.name == c.place.key.name {
					name = t.key.name // as the policy spells it
				}
			}
		}
		c.add(NearMiss{Element: shown(name), Absent: true, Text: "if " + plain(name) + " were absent"},
			func(r *Request) { setKey(r, &c.place.key, "", true) })
		if !c.text {
			return
		}
		const other = "another-value"
		c.add(NearMiss{Element: shown(name), Value: other, Text: "if " + plain(name) + " were another, such as " + quote(other)},
			func(r *Request) { setKey(r, &c.place.key, other, false) })
	}
}

// entry signs the caller in as an entry of a Principal.
func (c *collector) entry(text string) {
	who := ""
	if digits(text) {
		who, text = " (of account "+text+")", "arn:"+cmp.Or(c.arnPart(1), "aws")+":iam::"+text+":root"
	}
	p, err := ParsePrincipal(text)
	if err != nil {
		return
	}
	c.add(NearMiss{Element: "principal", Value: text, Text: "if the caller were signed in as " + plain(text) + who}, func(r *Request) { signedAs(r, p) })
}

// value gives the place of a condition a value; why tells where it comes from.
func (c *collector) value(t *elementTest, v, why string) {
	text := func(v string) string {
		s := "if " + plain(t.key.name) + " were " + quote(v)
		if why != "" {
			s += " (" + why + ")"
		}
		return s
	}
	switch c.place.kind {
	case placePrincipal:
		c.entry(v)
	case placeTime:
		at, ok := parseInstant(v)
		if when := time.Unix(at.seconds, int64(at.nanos)).UTC(); ok && when.Year() > 0 && when.Year() <= 9999 && !when.IsZero() {
			v = when.Format("2006-01-02T15:04:05Z")
			c.add(NearMiss{Element: KeyCurrentTime.String(), Value: v, Text: "if the time were " + v}, func(r *Request) { setTime(r, when) })
		}
	default:
		key := t.condition.key
		if f := c.req.lookup(&key); len(v) > maxARNText || f.n == 1 && f.at(0) == v || v == "" && (key.key == KeyReferer || key.key == KeyUserAgent) {
			return
		}
		c.add(NearMiss{Element: shown(t.key.name), Value: v, Text: text(v)}, func(r *Request) { setKey(r, &key, v, false) })
	}
}

// maxARNText: longer values are not worth proposing.
const maxARNText = 2048

// condition proposes values that a condition accepts and some that it does not.
func (c *collector) condition(t *elementTest) {
	op := t.block.op
	if op.family == familyNull {
		c.value(t, "any-value", "present")
		return
	}
	switch op.family {
	case familyString, familyStringFold, familyStringLike, familyARN, familyBinary:
		c.text = true
	}
	for _, v := range t.key.values {
		if len(c.list) >= maxNearCandidates {
			break
		}
		c.source = t.block.name + " " + v.text
		switch op.family {
		case familyString, familyStringFold, familyBool:
			if s, ok := c.sample(tokenize(v.text, false, c.doc.variables()), ""); ok {
				c.value(t, s, "")
			}
			if op.family == familyBool {
				c.value(t, "true", "")
				c.value(t, "false", "")
			}
		case familyStringLike:
			c.like(t, v.text, "")
			c.like(t, v.text, "x")
		case familyARN:
			c.arn(t, v.text)
		case familyBinary:
			if b, ok := parseBinary(v.text); ok {
				c.value(t, b, "encoded as "+plain(v.text))
			}
		case familyNumeric:
			c.number(t, v.text)
		case familyDate:
			if at, ok := parseInstant(v.text); ok {
				for _, step := range [...]int64{0, 1, -1} {
					c.value(t, time.Unix(at.seconds+step, 0).UTC().Format("2006-01-02T15:04:05Z"), "")
				}
			}
		case familyIP:
			c.network(t, v.text)
		}
	}
	c.source = ""
}

// arnPart is a part of the resource's ARN.
func (c *collector) arnPart(i int) string {
	parts, _ := splitARN(string(c.req.Resource))
	return parts[i]
}

// arn proposes an ARN like a pattern; an account is more than a letter.
func (c *collector) arn(t *elementTest, pattern string) {
	parts, n := splitTokens(tokenize(pattern, true, c.doc.variables()))
	if n != arnParts {
		return
	}
	var text [arnParts]string
	for i := range parts {
		fill := "x"
		if i == arnColon-1 {
			fill = cmp.Or(c.arnPart(accountPart), fill)
		}
		var ok bool
		if text[i], ok = c.sample(parts[i], fill); !ok {
			return
		}
	}
	why := ""
	if strings.ContainsAny(pattern, "*?") {
		why = "like " + quote(pattern)
	}
	c.value(t, strings.Join(text[:], ":"), why)
}

// like proposes a text that a pattern matches, with fill for its stars.
func (c *collector) like(t *elementTest, pattern, fill string) {
	tokens := tokenize(pattern, true, c.doc.variables())
	why := ""
	if len(tokens) != 1 || tokens[0].kind != tokenText {
		why = "like " + quote(pattern)
	}
	if s, ok := c.sample(tokens, fill); ok {
		c.value(t, s, why)
	}
}

// sample is a text that tokens match; false if a variable has no value.
func (c *collector) sample(tokens []token, fill string) (string, bool) {
	var b strings.Builder
	for i := range tokens {
		switch t := &tokens[i]; t.kind {
		case tokenText:
			b.WriteString(t.text)
		case tokenAny:
			b.WriteString(fill)
		case tokenOne:
			b.WriteByte('x')
		case tokenVar:
			text, ok := t.resolve(c.req)
			if !ok {
				return "", false
			}
			b.WriteString(text)
		}
	}
	return b.String(), true
}

func (c *collector) number(t *elementTest, text string) {
	d, ok := parseDecimal(text)
	if !ok {
		return
	}
	c.value(t, text, "")
	n, err := strconv.ParseInt(cmp.Or(d.whole, "0"), 10, 62)
	if err != nil {
		return
	}
	if d.negative {
		n = -n
	}
	c.value(t, strconv.FormatInt(n-1, 10), "")
	c.value(t, strconv.FormatInt(n+1, 10), "")
}

func (c *collector) network(t *elementTest, text string) {
	p, ok := parseCIDR(text)
	if !ok {
		return
	}
	in := p.Addr()
	if p.Bits() < in.BitLen()-1 {
		in = in.Next() // the address of a network itself is seldom anybody's
	}
	c.value(t, in.String(), "in "+plain(text))
	for _, out := range [...]netip.Addr{p.Addr().Prev(), last(p).Next(), netip.AddrFrom4([4]byte{192, 0, 2, 1})} {
		if out.IsValid() && !p.Contains(out) {
			c.value(t, out.String(), "outside "+plain(text))
			return
		}
	}
}

// last is the highest address of a network.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < p.Addr().BitLen(); i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// resource proposes a call of the same API whose stage, method and path a
// pattern matches, as near to the present one as can be.
func (c *collector) resource(text string) {
	parts, n := splitARN(string(c.req.Resource))
	if n != arnParts {
		return
	}
	now := parts[arnColon]
	api, rest, ok := strings.Cut(now, "/")
	if !ok {
		return
	}
	pattern, short := strings.CutPrefix(text, shortForm)
	if !short {
		parts, n := splitARN(text)
		_, path, slash := strings.Cut(parts[arnColon], "/")
		if n != arnParts || !slash {
			return
		}
		pattern = path
	}
	if c.doc.variables() && strings.Contains(pattern, "${") {
		// A variable's name may hold slashes.
		if pattern, ok = c.sample(tokenize(pattern, true, true), ""); !ok {
			return
		}
	}
	have, want := strings.Split(rest, "/"), strings.Split(pattern, "/")
	for i, part := range want {
		switch {
		case part == "*" && i == len(want)-1 && i < len(have):
			want[i] = strings.Join(have[i:], "/")
		case part == "*" && i < len(have):
			want[i] = have[i]
		case part == "*":
			want[i] = "x"
		default:
			want[i], _ = c.sample(tokenize(part, true, false), "")
		}
	}
	then := api + "/" + strings.Join(want, "/")
	if then == now || len(then) > maxARNText {
		return
	}
	parts[arnColon] = then
	arn := strings.Join(parts[:], ":")
	c.add(NearMiss{Element: "resource", Value: arn, Text: "if " + resourceWords(now, then)}, func(r *Request) { r.Resource = []byte(arn) })
}
