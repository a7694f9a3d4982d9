package rdata

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestParse(t *testing.T) {
	long := strings.Repeat("x", 255)
	for _, c := range []struct{ rtype, value, want string }{
		{"A", "10.0.0.1", "10.0.0.1"},
		{"AAAA", "2001:DB8::1", "2001:db8::1"},
		{"CNAME", "WWW.Example.com", "www.example.com."},
		{"NS", "ns1.example.com.", "ns1.example.com."},
		{"PTR", "host.example.", "host.example."},
		{"MX", "10 mail.example.com", "10 mail.example.com."},
		{"MX", "  0\tmail.example.com. ", "0 mail.example.com."},
		{"SRV", "1 2 443 _x.example.", "1 2 443 _x.example."},
		{"SOA", "ns. host. 1 7200 900 1209600 86400", "ns. host. 1 7200 900 1209600 86400"},
		{"TXT", `"v=spf1 -all"`, `"v=spf1 -all"`},
		{"TXT", `"a" "b"	""`, `"a" "b" ""`},
		{"TXT", `"say \"hi\" \134 \377"`, `"say \034hi\034 \092 \255"`},
		{"TXT", `"` + long + `"`, `"` + long + `"`},
		{"TXT", `"a;b(c"`, `"a;b(c"`},
	} {
		rr, err := Parse(c.rtype, c.value)
		if err != nil {
			t.Errorf("%s %s: %v", c.rtype, c.value, err)
			continue
		}
		if got := wire(t, rr); got != normal(t, c.rtype, c.want) {
			t.Errorf("%s %s: %s", c.rtype, c.value, rr)
		}
	}
}

// wire is a record as it arrives: packed and unpacked again.
func wire(t *testing.T, rr dns.RR) string {
	t.Helper()
	rr.Header().Name = "x."
	buf := make([]byte, dns.MaxMsgSize)
	n, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := dns.UnpackRR(buf[:n], 0)
	if err != nil {
		t.Fatal(err)
	}
	return got.String()
}

// normal is what the library's own parser makes of a value.
func normal(t *testing.T, rtype, value string) string {
	t.Helper()
	rr, err := dns.NewRR("x. 0 IN " + rtype + " " + value)
	if err != nil {
		t.Fatal(err)
	}
	return wire(t, rr)
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ rtype, value, says string }{
		{"A", "10.0.0", "not a valid IPv4 address"},
		{"A", "::1", "not a valid IPv4 address"},
		{"A", "10.0.0.1 10.0.0.2", "more than"},
		{"A", "", "missing"},
		{"AAAA", "10.0.0.1", "not a valid IPv6 address"},
		{"AAAA", "fe80::1%eth0", "not a valid IPv6 address"},
		{"CNAME", "a..b", "empty label"},
		{"CNAME", strings.Repeat("a", 64) + ".b", "longer than 63"},
		{"CNAME", strings.Repeat("abcdefg.", 32), "longer than 255"},
		{"CNAME", `a\.b.`, "illegal character"},
		{"CNAME", ".", "empty"},
		{"MX", "mail.example.", "not a number"},
		{"MX", "65536 mail.example.", "not a number below 2^16"},
		{"MX", "1", "missing"},
		{"SOA", "ns. host. 1 2 3 4", "missing"},
		{"SOA", "ns. host. 4294967296 1 1 1 1", "not a number"},
		{"TXT", "plain", "quotation marks"},
		{"TXT", "", "quotation marks"},
		{"TXT", `"a""b"`, "space"},
		{"TXT", `"a`, "closing"},
		{"TXT", `"a\"`, "closing"},
		{"TXT", `"\400"`, "octal"},
		{"TXT", `"\18"`, "octal"},
		{"TXT", "\"a\nb\"", "byte 0xa"},
		{"TXT", "\"é\"", "byte 0xc3"},
		{"TXT", `"` + strings.Repeat("x", 256) + `"`, "longer than 255"},
		{"TXT", strings.Repeat(`"x" `, 1001), "longer than 4000"},
		{"CAA", `0 issue "x"`, "no values here"},
	} {
		if rr, err := Parse(c.rtype, c.value); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %q: %v, %v; want %q", c.rtype, c.value, rr, err, c.says)
		}
	}
}

func TestParseSet(t *testing.T) {
	many := make([]string, 9)
	for i := range many {
		many[i] = strings.Repeat(`"`+strings.Repeat(string(rune('a'+i)), 250)+`" `, 15)
	}
	for _, c := range []struct {
		name, rtype string
		values      []string
		says        string
	}{
		{"two addresses", "A", []string{"10.0.0.1", "10.0.0.2"}, ""},
		{"none", "A", nil, "no value"},
		{"twice", "A", []string{"10.0.0.1", "10.0.0.1"}, "duplicate"},
		{"the same name", "MX", []string{"1 a.", "1 A"}, "duplicate"},
		{"two canonical names", "CNAME", []string{"a.", "b."}, "more than one"},
		{"too many", "A", make([]string, 401), "more than 400"},
		{"too much", "TXT", many, "32000 bytes together"},
		{"a type", "HINFO", []string{"x"}, "not one of A, AAAA"},
	} {
		rrs, err := ParseSet(c.rtype, c.values)
		switch {
		case c.says == "" && (err != nil || len(rrs) != len(c.values)):
			t.Errorf("%s: %v, %v", c.name, rrs, err)
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
	}
}

func TestOwner(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"Example.com", "example.com."}, {"*.Example.com.", "*.example.com."}, {`\052.example.com`, "*.example.com."},
		{"_sip._tcp.example.com", "_sip._tcp.example.com."}, {"a.*.example.com", ""}, {"*", ""}, {"*.", ""}, {"", ""}, {".", ""},
		{"a b.example.com", ""}, {"x.*", ""}, {"*.*.example.com", ""}, {"exämple.com", ""},
	} {
		got, err := Owner(c.text)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: %q, %v", c.text, got, err)
		}
	}
	for _, c := range []struct {
		name, apex string
		want       bool
	}{{"example.com.", "example.com.", true}, {"a.example.com.", "example.com.", true}, {"anexample.com.", "example.com.", false}, {"com.", "example.com.", false}} {
		if got := Within(c.name, c.apex); got != c.want {
			t.Errorf("%s within %s: %v", c.name, c.apex, got)
		}
	}
}

// FuzzParse: what is accepted can be sent and arrives as it was.
func FuzzParse(f *testing.F) {
	for _, v := range []string{"10.0.0.1", "::1", "a.b.", "10 mail.a.", "1 2 3 x.", "ns. h. 1 2 3 4 5", `"a\"b\134\377" "c"`, `"`, "*.x", `\052.x`} {
		for i := range types {
			f.Add(uint8(i), v)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, value string) {
		rtype := types[int(which)%len(types)]
		rr, err := Parse(rtype, value)
		if err != nil {
			return
		}
		sent := rr.String()
		if got := strings.TrimPrefix(wire(t, rr), "x."); got != strings.TrimPrefix(rr.String(), "x.") {
			t.Fatalf("%s %q: %s arrives as %s", rtype, value, sent, got)
		}
		if name, err := Owner(value); err == nil {
			if again, err := Owner(name); err != nil || again != name {
				t.Fatalf("owner %q: %q, then %q, %v", value, name, again, err)
			}
			if _, ok := dns.IsDomainName(name); !ok {
				t.Fatalf("owner %q is no domain name", name)
			}
		}
	})
}
