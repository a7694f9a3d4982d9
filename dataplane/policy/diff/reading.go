package diff

import (
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posternhq/postern/dataplane/policy"
)

// property of a text of some key, before it is known whose dimension it is.
type meaning struct {
	name     string
	language func() language // nil: typed
	typed    *typed
	holds    func(string) bool
	// bounds in epoch seconds between which the truth does not change, for
	// Date and Numeric operators.
	bounds []int64
	date   bool
}

// meaningOf is the positive operator of a condition, for its values without variables.
func (p *problem) meaningOf(c *policy.ConditionView, globs [][]item) meaning {
	values := slices.Clone(c.Values)
	slices.Sort(values)
	m := meaning{name: c.Operator + fmt.Sprintf(" %q", slices.Compact(values)), holds: c.Matches}
	switch {
	case c.Operator == "IpAddress":
		m.typed = &typed{typeAddress, c.Matches, addressesAround(c.Prefixes())}
	case strings.HasPrefix(c.Operator, "Numeric"):
		m.typed = &typed{typeNumber, c.Matches, numbersAround(c.Numbers())}
		for _, n := range c.Numbers() {
			m.bounds = append(m.bounds, secondsAround(n)...)
		}
		m.date = true
	case strings.HasPrefix(c.Operator, "Date"):
		m.typed = &typed{typeDate, c.Matches, datesAround(c.Instants())}
		for _, t := range c.Instants() {
			m.bounds = append(m.bounds, t.Unix(), t.Unix()+1)
		}
		m.date = true
	default:
		m = p.globMeaning(globs)
	}
	return m
}

// globMeaning is the meaning of texts that match one of the globs.
func (p *problem) globMeaning(list [][]item) meaning {
	var name strings.Builder
	keys := make([]string, len(list))
	for i, items := range list {
		keys[i] = globKey(items)
	}
	slices.Sort(keys)
	for _, k := range slices.Compact(keys) {
		name.WriteString(k)
		name.WriteByte('|')
	}
	lang := func() language {
		return p.given.language(name.String(), func() language { return newGlobs(list) })
	}
	return meaning{name: name.String(), language: lang, holds: func(t string) bool { return contains(lang(), t) }}
}

func globKey(items []item) string {
	var b strings.Builder
	for _, it := range items {
		switch it.kind {
		case itemRune:
			b.WriteString(strconv.QuoteRune(it.r))
		case itemFold:
			b.WriteString("~" + strconv.QuoteRune(foldLeast(it.r)))
		case itemOne:
			b.WriteString("?" + it.mark())
		case itemStar:
			b.WriteString("*" + it.mark())
		}
	}
	return b.String()
}

// mark tells the classes of patterns apart.
func (it *item) mark() string {
	if it.any {
		return ""
	}
	mark := ""
	for _, r := range ":/" {
		if !it.class(r) {
			mark += string(r)
		}
	}
	return mark
}

func foldLeast(r rune) rune {
	least := r
	for _, f := range fold(r) {
		least = min(least, f)
	}
	return least
}

// junk is a text that is of no type.
const junk = "none"

// addressesAround has an address of each cell into which the prefixes cut the
// addresses of both families, and a text that is no address.
func addressesAround(list []netip.Prefix) []string {
	out := []string{junk, "0.0.0.0", "::", "::1:0:0:0"} // the last follows the v4-mapped ones
	add := func(a netip.Addr) {
		if a.IsValid() && !a.Is4In6() {
			out = append(out, a.String())
			if a.Is4() {
				out = append(out, "::ffff:"+a.String()) // the same, but for its text
			}
		}
	}
	for _, p := range list {
		add(p.Addr())
		last := p.Addr().AsSlice()
		for i := p.Bits(); i < 8*len(last); i++ {
			last[i/8] |= 0x80 >> (i % 8)
		}
		a, _ := netip.AddrFromSlice(last)
		add(a.Next())
	}
	return out
}

// numbersAround has a number at, between and beyond all of the list, and a
// text that is no number.
func numbersAround(list []string) []string {
	var at []*big.Rat
	for _, s := range list {
		if r, ok := new(big.Rat).SetString(s); ok {
			at = append(at, r)
		}
	}
	slices.SortFunc(at, (*big.Rat).Cmp)
	out := []string{junk}
	one := big.NewRat(1, 1)
	for i, r := range at {
		if i == 0 {
			out = append(out, decimal(new(big.Rat).Sub(r, one)))
		} else {
			sum := new(big.Rat).Add(at[i-1], r)
			out = append(out, decimal(sum.Quo(sum, big.NewRat(2, 1))))
		}
		out = append(out, decimal(r))
		if next := new(big.Rat).Add(r, one); i == len(at)-1 || next.Cmp(at[i+1]) < 0 {
			out = append(out, decimal(next)) // rounder than what lies half-way
		}
	}
	return out
}

// decimal is the number in full: sums and halves of decimals are decimals.
func decimal(r *big.Rat) string {
	n, _ := r.FloatPrec()
	return r.FloatString(n)
}

func secondsAround(number string) []int64 {
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return nil
	}
	floor := new(big.Int).Div(r.Num(), r.Denom())
	if !floor.IsInt64() {
		return nil
	}
	return []int64{floor.Int64(), floor.Int64() + 1}
}

// datesAround has a date at, between and beyond all of the list, and a text
// that is no date. Dates are told apart to the nanosecond.
func datesAround(list []time.Time) []string {
	out := []string{junk}
	for _, t := range list {
		for _, u := range []time.Time{t.Add(-time.Second), t.Add(-1), t, t.Add(1), t.Add(time.Second)} {
			if u.Year() < 0 || u.Year() > 9999 {
				out = append(out, epochText(u.Unix()))
				continue
			}
			out = append(out, u.UTC().Format("2006-01-02T15:04:05.999999999Z"))
		}
	}
	return out
}

func epochText(seconds int64) string { return strconv.FormatInt(seconds, 10) }

// timeRanges are the times at which a Date or Numeric condition matches the
// text that a time key then has.
func timeRanges(m *meaning, text func(int64) string) language {
	at := []int64{firstTime, lastTime + 1}
	for _, b := range m.bounds {
		if b > firstTime && b <= lastTime {
			at = append(at, b)
		}
	}
	slices.Sort(at)
	at = slices.Compact(at)
	var low, high []string
	for i, from := range at[:len(at)-1] {
		if m.holds(text(from)) {
			low = append(low, isoText(from))
			high = append(high, isoText(at[i+1]-1))
		}
	}
	return newRanges(low, high)
}

func isoText(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(timeLayout) }
