package rdata

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

const (
	// maxValues is the quota of AWS on the records of a set.
	maxValues = 400
	// maxValue is how long one value may be, in bytes.
	maxValue = 4000
	// maxSet keeps a set within one message, whatever else is in it.
	maxSet = 32_000
)

// types are those that a hosted zone holds, sorted.
var types = []string{"A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"}

// Types names the record types that a hosted zone holds.
func Types() []string { return slices.Clone(types) }

// Type is the number of a record type; false if no hosted zone holds it.
func Type(name string) (uint16, bool) {
	if !slices.Contains(types, name) {
		return 0, false
	}
	return dns.StringToType[name], true
}

// ParseSet reads the values of a set. The records have types and classes, but
// neither owners nor TTLs. The first value that is wrong is named in the error.
func ParseSet(rtype string, values []string) ([]dns.RR, error) {
	if _, ok := Type(rtype); !ok {
		return nil, fmt.Errorf("record type %q is not one of %s", rtype, strings.Join(types, ", "))
	}
	switch {
	case len(values) == 0:
		return nil, errors.New("set has no value")
	case len(values) > maxValues:
		return nil, fmt.Errorf("set has %d values, more than %d", len(values), maxValues)
	case len(values) > 1 && (rtype == "CNAME" || rtype == "SOA"):
		return nil, fmt.Errorf("set of type %s has more than one value", rtype)
	}
	size := 0
	rrs := make([]dns.RR, 0, len(values))
	seen := make(map[string]bool, len(values))
	for _, v := range values {
		rr, err := Parse(rtype, v)
		if err != nil {
			return nil, err
		}
		text := rr.String()
		if seen[text] {
			return nil, fmt.Errorf("duplicate Resource Record: '%s'", v)
		}
		seen[text] = true
		if size += len(v); size > maxSet {
			return nil, fmt.Errorf("values of the set are longer than %d bytes together", maxSet)
		}
		rrs = append(rrs, rr)
	}
	return rrs, nil
}

// Parse reads one value of a record type.
func Parse(rtype, value string) (dns.RR, error) {
	if len(value) > maxValue {
		return nil, fmt.Errorf("value of %d bytes is longer than %d", len(value), maxValue)
	}
	h := dns.RR_Header{Rrtype: dns.StringToType[rtype], Class: dns.ClassINET}
	if rtype == "TXT" {
		texts, err := characterStrings(value)
		if err != nil {
			return nil, fmt.Errorf("value %q: %w", value, err)
		}
		return &dns.TXT{Hdr: h, Txt: texts}, nil
	}
	f := fields{words: strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == '\t' })}
	var rr dns.RR
	switch rtype {
	case "A":
		rr = &dns.A{Hdr: h, A: f.address(netip.Addr.Is4, "IPv4").AsSlice()}
	case "AAAA":
		rr = &dns.AAAA{Hdr: h, AAAA: f.address(netip.Addr.Is6, "IPv6").AsSlice()}
	case "CNAME":
		rr = &dns.CNAME{Hdr: h, Target: f.name()}
	case "NS":
		rr = &dns.NS{Hdr: h, Ns: f.name()}
	case "PTR":
		rr = &dns.PTR{Hdr: h, Ptr: f.name()}
	case "MX":
		rr = &dns.MX{Hdr: h, Preference: uint16(f.number(16)), Mx: f.name()}
	case "SRV":
		rr = &dns.SRV{Hdr: h, Priority: uint16(f.number(16)), Weight: uint16(f.number(16)), Port: uint16(f.number(16)), Target: f.name()}
	case "SOA":
		rr = &dns.SOA{
			Hdr: h, Ns: f.name(), Mbox: f.name(), Serial: f.number(32),
			Refresh: f.number(31), Retry: f.number(31), Expire: f.number(31), Minttl: f.number(31),
		}
	default:
		return nil, fmt.Errorf("record type %q has no values here", rtype)
	}
	if f.err == nil && len(f.words) > 0 {
		f.err = fmt.Errorf("%q is more than the type %s takes", f.words[0], rtype)
	}
	if f.err != nil {
		return nil, fmt.Errorf("value %q: %w", value, f.err)
	}
	return rr, nil
}

// fields are the words of a value that are yet to be read. After the first
// error they are all empty.
type fields struct {
	words []string
	err   error
}

func (f *fields) next(what string) string {
	if f.err != nil {
		return ""
	}
	if len(f.words) == 0 {
		f.err = fmt.Errorf("%s is missing", what)
		return ""
	}
	w := f.words[0]
	f.words = f.words[1:]
	return w
}

func (f *fields) address(is func(netip.Addr) bool, kind string) netip.Addr {
	text := f.next("an " + kind + " address")
	a, err := netip.ParseAddr(text)
	if f.err == nil && (err != nil || !is(a) || a.Zone() != "") {
		f.err = fmt.Errorf("not a valid %s address", kind)
		return netip.Addr{}
	}
	return a
}

func (f *fields) name() string {
	text := f.next("a domain name")
	if f.err != nil {
		return "."
	}
	name, err := Name(text)
	if err != nil {
		f.err = err
	}
	return name
}

func (f *fields) number(bits int) uint32 {
	text := f.next("a number")
	n, err := strconv.ParseUint(text, 10, bits)
	if f.err == nil && err != nil {
		f.err = fmt.Errorf("%q is not a number below 2^%d", text, bits)
	}
	return uint32(n)
}

// Text is the value of a record, in the library's own form: names are canonical,
// and what is escaped in texts is decimal.
func Text(rr dns.RR) string {
	return strings.TrimSpace(strings.TrimPrefix(rr.String(), rr.Header().String()))
}
