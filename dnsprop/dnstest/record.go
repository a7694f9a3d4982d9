package dnstest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/rdata"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const (
	defaultTTL = 60
	maxLine    = 8192 // bytes of a record's line
	maxRecords = 2000 // of a change
)

// readRecords reads the lines of a change: what it makes of each set, in the
// order in which they are first named.
func readRecords(lines []string, origin string) ([]*statev1.RecordChange, error) {
	if len(lines) == 0 {
		return nil, errors.New("change has no records")
	}
	if len(lines) > maxRecords {
		return nil, fmt.Errorf("change has %d records, more than %d", len(lines), maxRecords)
	}
	type key struct{ name, rtype string }
	var out []*statev1.RecordChange
	sets := map[key]*statev1.RecordChange{}
	for _, line := range lines {
		r, err := readRecord(line, origin)
		if err != nil {
			return nil, fmt.Errorf("record %q: %w", shortened(line), err)
		}
		k := key{r.GetName(), r.GetType()}
		set := sets[k]
		if set == nil {
			sets[k] = r
			out = append(out, r)
			continue
		}
		a, b := set.GetAfter(), r.GetAfter()
		switch {
		case a == nil || b == nil || a.GetAlias() != "" || b.GetAlias() != "":
			return nil, fmt.Errorf("record %q: the set of %s %s is in the change already", shortened(line), k.name, k.rtype)
		case a.GetTtl() != b.GetTtl():
			return nil, fmt.Errorf("record %q: the records of a set have one TTL, %d or %d", shortened(line), a.GetTtl(), b.GetTtl())
		}
		a.Addresses = append(a.Addresses, b.GetAddresses()...)
		a.Values = append(a.Values, b.GetValues()...)
	}
	return out, nil
}

func shortened(line string) string {
	if len(line) > 100 {
		return line[:100] + "…"
	}
	return line
}

// readRecord reads one line. Names that do not end with a dot are below origin.
func readRecord(line, origin string) (*statev1.RecordChange, error) {
	if len(line) > maxLine {
		return nil, fmt.Errorf("it has %d bytes, more than %d", len(line), maxLine)
	}
	line = strings.TrimSpace(line)
	if rest, minus := strings.CutPrefix(line, "-"); minus {
		words := strings.Fields(rest)
		if len(words) != 2 {
			return nil, errors.New("a line with a minus has a name and a type, whose whole set goes")
		}
		name, err := absolute(words[0], origin)
		return &statev1.RecordChange{Name: name, Type: strings.ToUpper(words[1])}, err
	}
	line = strings.TrimSpace(strings.TrimPrefix(line, "+"))
	if strings.HasPrefix(line, "$") || strings.ContainsAny(line, "\r\n") {
		return nil, errors.New("it is not one record")
	}
	if words := strings.Fields(line); len(words) == 4 && words[1] == "ALIAS" {
		name, err := absolute(words[0], origin)
		if err != nil {
			return nil, err
		}
		target, err := absolute(words[3], origin)
		return &statev1.RecordChange{Name: name, Type: strings.ToUpper(words[2]), After: &statev1.RRset{Alias: target}}, err
	}
	parser := dns.NewZoneParser(strings.NewReader(line+"\n"), origin, "")
	parser.SetDefaultTTL(defaultTTL)
	rr, ok := parser.Next()
	if !ok {
		if err := parser.Err(); err != nil {
			return nil, errors.New(strings.TrimPrefix(err.Error(), "dns: "))
		}
		return nil, errors.New("it is not one record")
	}
	h := rr.Header()
	name, err := rdata.Owner(h.Name)
	if err != nil {
		return nil, err
	}
	r := &statev1.RecordChange{Name: name, Type: dns.TypeToString[h.Rrtype], After: &statev1.RRset{Ttl: h.Ttl}}
	if text := rdata.Text(rr); r.GetType() == "A" {
		r.After.Addresses = []string{text}
	} else {
		r.After.Values = []string{text}
	}
	return r, nil
}

// absolute is a canonical name: below origin, which "@" stands for, unless it
// ends with a dot.
func absolute(name, origin string) (string, error) {
	switch {
	case name == "@":
		name = origin
	case origin != "." && !strings.HasSuffix(name, "."):
		name += "." + origin
	}
	owner, err := rdata.Owner(name)
	if err != nil {
		return "", fmt.Errorf("name %q: %w", shortened(name), err)
	}
	return owner, nil
}
