package policy

import (
	"encoding/base64"
	"net/netip"
	"strings"
	"time"
)

// decimal is a number as its significant digits, so that any two compare
// exactly and without allocation, however long they are.
type decimal struct {
	negative bool
	whole    string // no leading zeros
	fraction string // no trailing zeros
}

// parseDecimal reads an integer or decimal with optional sign, no exponent.
func parseDecimal(s string) (decimal, bool) {
	var d decimal
	if s != "" && (s[0] == '-' || s[0] == '+') {
		d.negative = s[0] == '-'
		s = s[1:]
	}
	whole, fraction, point := strings.Cut(s, ".")
	if !digits(whole) || point && !digits(fraction) {
		return decimal{}, false
	}
	d.whole = strings.TrimLeft(whole, "0")
	d.fraction = strings.TrimRight(fraction, "0")
	if d.whole == "" && d.fraction == "" {
		d.negative = false // -0 is 0
	}
	return d, true
}

func (d decimal) compare(e decimal) int {
	if d.negative != e.negative {
		if d.negative {
			return -1
		}
		return 1
	}
	order := len(d.whole) - len(e.whole)
	if order == 0 {
		order = strings.Compare(d.whole, e.whole)
	}
	if order == 0 {
		order = strings.Compare(d.fraction, e.fraction)
	}
	if d.negative {
		return -order
	}
	return order
}

// instant is a point in time; comparable by its fields.
type instant struct {
	seconds int64 // since 1970
	nanos   int32
}

func (i instant) compare(j instant) int {
	switch {
	case i.seconds != j.seconds:
		if i.seconds < j.seconds {
			return -1
		}
		return 1
	case i.nanos < j.nanos:
		return -1
	case i.nanos > j.nanos:
		return 1
	}
	return 0
}

// parseInstant reads the W3C profile of ISO 8601 or Unix epoch seconds. Four
// digits are a year, as in the profile; a partial date is its first instant.
func parseInstant(s string) (instant, bool) {
	if len(s) != 4 {
		if sec, ok := parseEpoch(s); ok {
			return instant{seconds: sec}, true
		}
	}
	c := cutter{s: s, ok: true}
	year, month, day := c.number(4, 0, 9999), 1, 1
	var hour, minute, second, nanos, offset int
	if c.skip('-') {
		month = c.number(2, 1, 12)
		if c.skip('-') {
			day = c.number(2, 1, 31)
			if c.skip('T') {
				hour = c.number(2, 0, 23)
				c.need(':')
				minute = c.number(2, 0, 59)
				if c.skip(':') {
					second = c.number(2, 0, 59)
					if c.skip('.') {
						nanos = c.fraction()
					}
				}
				offset = c.zone()
			}
		}
	}
	if !c.ok || c.s != "" || day > daysIn(year, month) {
		return instant{}, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	return instant{t.Unix() - int64(offset), int32(nanos)}, true
}

func daysIn(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

func parseEpoch(s string) (int64, bool) {
	body, negative := strings.CutPrefix(s, "-")
	if len(body) > 18 || !digits(body) {
		return 0, false
	}
	var v int64
	for i := range len(body) {
		v = v*10 + int64(body[i]-'0')
	}
	if negative {
		v = -v
	}
	return v, true
}

// cutter takes fixed-width fields off the front of a string; the first that
// does not fit clears ok.
type cutter struct {
	s  string
	ok bool
}

func (c *cutter) number(width, low, high int) int {
	if len(c.s) < width || !digits(c.s[:width]) {
		c.ok = false
		return low
	}
	v := 0
	for i := range width {
		v = v*10 + int(c.s[i]-'0')
	}
	c.s = c.s[width:]
	if v < low || v > high {
		c.ok = false
		return low
	}
	return v
}

func (c *cutter) skip(b byte) bool {
	if c.ok && c.s != "" && c.s[0] == b {
		c.s = c.s[1:]
		return true
	}
	return false
}

func (c *cutter) need(b byte) {
	if !c.skip(b) {
		c.ok = false
	}
}

// fraction reads the digits after the point as nanoseconds; finer ones are cut off.
func (c *cutter) fraction() int {
	n, nanos, scale := 0, 0, 100_000_000
	for n < len(c.s) && c.s[n] >= '0' && c.s[n] <= '9' {
		nanos += int(c.s[n]-'0') * scale
		scale /= 10
		n++
	}
	if n == 0 {
		c.ok = false
	}
	c.s = c.s[n:]
	return nanos
}

// zone reads Z or ±hh:mm as seconds east of UTC.
func (c *cutter) zone() int {
	if c.skip('Z') {
		return 0
	}
	sign := 1
	if c.skip('-') {
		sign = -1
	} else {
		c.need('+')
	}
	hours := c.number(2, 0, 23)
	c.need(':')
	return sign * (hours*3600 + c.number(2, 0, 59)*60)
}

// parseCIDR reads an address or a prefix; host bits are ignored and a bare
// address is a prefix of full length. A v4-mapped IPv6 prefix is the IPv4 one,
// as addresses of requests are unmapped too.
func parseCIDR(s string) (netip.Prefix, bool) {
	if strings.IndexByte(s, '/') < 0 {
		a, ok := parseAddr(s)
		if !ok {
			return netip.Prefix{}, false
		}
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), true
}

// parseBool reads true or false in any case: 1 and 0, or -1 for anything else.
func parseBool(s string) int {
	switch {
	case s == "true", strings.EqualFold(s, "true"):
		return 1
	case s == "false", strings.EqualFold(s, "false"):
		return 0
	}
	return -1
}

func parseBinary(s string) (string, bool) {
	b, err := base64.StdEncoding.DecodeString(s)
	return string(b), err == nil
}
