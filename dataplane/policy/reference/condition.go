package reference

import (
	"encoding/base64"
	"math/big"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// condition is one operator on one key (§6).
func (e *evaluation) condition(operator, key string, wanted []string) bool {
	values := e.context[key]
	name, forAll := strings.CutPrefix(operator, "ForAllValues:")
	name, forAny := strings.CutPrefix(name, "ForAnyValue:")
	name, ifExists := strings.CutSuffix(name, "IfExists")

	if name == "Null" {
		return slices.ContainsFunc(wanted, func(v string) bool {
			return strings.EqualFold(v, "true") && len(values) == 0 || strings.EqualFold(v, "false") && len(values) > 0
		})
	}
	positive := strings.Replace(name, "Not", "", 1)
	negated := positive != name

	// §6.2 and §6.3: the missing key.
	if len(values) == 0 {
		switch {
		case ifExists, forAll:
			return true
		case forAny:
			return false
		}
		return negated
	}
	// To a set operator one empty string is an empty set.
	if (forAll || forAny) && len(values) == 1 && values[0] == "" {
		values = nil
	}
	// A value satisfies a positive operator if it matches any wanted value, and
	// a negated one if it matches none.
	satisfies := func(v string) bool {
		return slices.ContainsFunc(wanted, func(w string) bool { return e.compare(positive, w, v) }) != negated
	}
	fails := func(v string) bool { return !satisfies(v) }
	switch {
	case forAll:
		return !slices.ContainsFunc(values, fails)
	case forAny:
		return slices.ContainsFunc(values, satisfies)
	case negated: // of a list without a set operator: no value may match
		return !slices.ContainsFunc(values, fails)
	}
	return slices.ContainsFunc(values, satisfies)
}

// compare is a positive operator on one wanted value and one of the request.
// What can't be read as the operator's type matches nothing.
func (e *evaluation) compare(name, wanted, v string) bool {
	switch {
	case name == "StringLike":
		p, ok := e.pattern(wanted, true)
		return ok && glob(p, v)
	case name == "StringEquals":
		p, ok := e.pattern(wanted, false)
		return ok && text(p) == v
	case name == "StringEqualsIgnoreCase":
		p, ok := e.pattern(wanted, false)
		return ok && strings.EqualFold(text(p), v)
	case name == "Bool":
		p, ok := e.pattern(wanted, false)
		return ok && (strings.EqualFold(v, "true") || strings.EqualFold(v, "false")) && strings.EqualFold(text(p), v)
	case name == "BinaryEquals":
		b, err := base64.StdEncoding.DecodeString(wanted)
		return err == nil && string(b) == v
	case name == "IpAddress":
		return inNetwork(wanted, v)
	case strings.HasPrefix(name, "Arn"):
		return e.arnLike(wanted, v)
	case strings.HasPrefix(name, "Numeric"):
		a, okA := number(v)
		b, okB := number(wanted)
		return okA && okB && ordered(name, a.Cmp(b))
	case strings.HasPrefix(name, "Date"):
		a, okA := date(v)
		b, okB := date(wanted)
		return okA && okB && ordered(name, a.Compare(b))
	}
	panic("no operator " + name)
}

func ordered(name string, order int) bool {
	switch {
	case strings.HasSuffix(name, "LessThan"):
		return order < 0
	case strings.HasSuffix(name, "LessThanEquals"):
		return order <= 0
	case strings.HasSuffix(name, "GreaterThan"):
		return order > 0
	case strings.HasSuffix(name, "GreaterThanEquals"):
		return order >= 0
	}
	return order == 0
}

// arnLike compares the six parts one by one.
func (e *evaluation) arnLike(wanted, v string) bool {
	p, ok := e.pattern(wanted, true)
	parts, arn := split(p), strings.SplitN(v, ":", 6)
	if !ok || len(parts) != 6 || len(arn) != 6 {
		return false
	}
	for i := range parts {
		if !glob(parts[i], arn[i]) {
			return false
		}
	}
	return true
}

// inNetwork: a bare address is a range of one; IPv4 in IPv6 clothes is IPv4, in
// ranges too; otherwise the families never mix.
func inNetwork(wanted, v string) bool {
	a, err := netip.ParseAddr(v)
	if err != nil || a.Zone() != "" {
		return false
	}
	a = a.Unmap()
	if !strings.Contains(wanted, "/") {
		b, err := netip.ParseAddr(wanted)
		return err == nil && b.Unmap() == a
	}
	n, err := netip.ParsePrefix(wanted)
	if err == nil && n.Addr().Is4In6() && n.Bits() >= 96 {
		n, err = n.Addr().Unmap().Prefix(n.Bits() - 96)
	}
	return err == nil && n.Contains(a)
}

var decimal = regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]+)?$`)

func number(s string) (*big.Rat, bool) {
	if !decimal.MatchString(s) {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}

var (
	isoDate = regexp.MustCompile(`^(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(?:Z|([+-])(\d\d):(\d\d)))?)?)?$`)
	epoch   = regexp.MustCompile(`^-?\d{1,18}$`)
)

// date reads the W3C profile of ISO 8601, where a partial date is its first
// instant, or seconds since 1970 (§6.4). Four digits are a year.
func date(s string) (time.Time, bool) {
	m := isoDate.FindStringSubmatch(s)
	if m == nil {
		if !epoch.MatchString(s) {
			return time.Time{}, false
		}
		seconds, err := strconv.ParseInt(s, 10, 64)
		return time.Unix(seconds, 0), err == nil
	}
	field := func(i, otherwise int) int {
		if m[i] == "" {
			return otherwise
		}
		n, _ := strconv.Atoi(m[i])
		return n
	}
	year, month, day := field(1, 0), field(2, 1), field(3, 1)
	hour, minute, second := field(4, 0), field(5, 0), field(6, 0)
	nanos, _ := strconv.Atoi((m[7] + "000000000")[:9])
	eastHours, eastMinutes := field(9, 0), field(10, 0)
	t := time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC)
	// time.Date takes the 30th of February for the 1st of March; we take neither.
	if t.Year() != year || int(t.Month()) != month || t.Day() != day || t.Hour() != hour || t.Minute() != minute || t.Second() != second ||
		eastHours > 23 || eastMinutes > 59 {
		return time.Time{}, false
	}
	east := time.Duration(eastHours)*time.Hour + time.Duration(eastMinutes)*time.Minute
	if m[8] == "-" {
		east = -east
	}
	return t.Add(-east), true
}
