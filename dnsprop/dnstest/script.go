package dnstest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What a script may have.
const (
	maxScript     = 64 << 10 // bytes
	maxStatements = 2000
)

// Run plays a script, and fails the test for each answer that is not as the
// script says. A script has a statement a line; empty lines and those that begin
// with # say nothing:
//
//	lab profile=aws seed=1 zone=example.com resolver=corp:ttl-min=5m
//
// comes first, with the options of the Lab; zone and resolver may be repeated.
// These change something:
//
//	$ORIGIN example.com.              names without a final dot are below it
//	commit NAME [profile=P] [private] a change, with its records on the lines after it:
//	  + www 60 IN A 10.0.0.1            a record in zone-file notation, or NAME ALIAS TYPE TARGET
//	  - old A                           a set that goes
//	resend NAME                       the change is driven again, as by a deployment
//	zone NAME                         a new public zone, which has to propagate
//	vpc NAME AZ...                    a VPC, with the places NAME/AZ
//	private ZONE VPC...               a private zone of VPCs
//	endpoint VPC ADDRESS...           an endpoint with private DNS
//	profile NAME                      the profile of the changes to come
//	fault KIND [name=N] [zone=N] [place=P] [lag=D] [for=D]
//	clear                             the faults end
//	prefer [nsN]                      whom resolvers ask first
//	restart                           another DNS server, by the same records
//
// These move the clock, which stands still otherwise:
//
//	after 5s
//	at 2m30s                          since the start of the script
//	at NAME.first, NAME.insync, NAME.ns3, each with + 5s or - 1ms if need be
//	settle                            until no place answers by what is older than the last change
//
// And these check something; what follows the equals sign is compared:
//
//	ask PLACE NAME TYPE = ANSWER      the answer as Answer.String has it; of the place
//	                                  authorities all four, one by one if they differ
//	arrives NAME = ns1 1m2s, ns2 ...  when the change arrives, since the start
//	visible PLACE NAME = yes          whether the place answers by nothing older than the change
func Run(t testing.TB, script string) {
	t.Helper()
	p, err := play(script)
	if err != nil {
		t.Fatalf("dnstest: %v", err)
	}
	for _, f := range p.failures {
		t.Errorf("line %d: %s = %s, want %s", f.line, f.text, f.got, f.want)
	}
}

// statement is one of a script.
type statement struct {
	line    int
	text    string // without what is expected
	words   []string
	records []string // of a commit
	checks  bool
	want    string
}

// verb is a kind of statement.
type verb struct {
	min, max int // words after the verb
	checks   bool
	run      func(p *player, s statement) error
}

var verbs = map[string]verb{
	"$ORIGIN":  {1, 1, false, (*player).origin},
	"commit":   {1, 3, false, (*player).commit},
	"resend":   {1, 1, false, (*player).resend},
	"zone":     {1, 1, false, (*player).zone},
	"vpc":      {2, 17, false, (*player).vpc},
	"private":  {2, 17, false, (*player).private},
	"endpoint": {2, 17, false, (*player).endpoint},
	"profile":  {1, 1, false, func(p *player, s statement) error { return p.lab.useProfile(s.words[1]) }},
	"fault":    {1, 5, false, (*player).fault},
	"clear":    {0, 0, false, func(p *player, _ statement) error { return p.lab.clearFaults() }},
	"prefer":   {0, 1, false, (*player).preferTo},
	"restart":  {0, 0, false, func(p *player, _ statement) error { return p.lab.restart() }},
	"after":    {1, 1, false, (*player).after},
	"at":       {1, 3, false, (*player).at},
	"settle":   {0, 0, false, (*player).settle},
	"ask":      {3, 3, true, (*player).ask},
	"arrives":  {1, 1, true, (*player).arrives},
	"visible":  {2, 2, true, (*player).visible},
}

// parseScript reads a script: the options of its Lab, and its statements.
func parseScript(script string) ([]Option, []statement, error) {
	if len(script) > maxScript {
		return nil, nil, fmt.Errorf("script has %d bytes, more than %d", len(script), maxScript)
	}
	var opts []Option
	var out []statement
	begun := false
	for i, text := range strings.Split(script, "\n") {
		line := strings.TrimSpace(text)
		wrong := func(err error) ([]Option, []statement, error) {
			return nil, nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		switch {
		case line == "" || line[0] == '#':
			continue
		case line[0] == '+' || line[0] == '-':
			if len(out) == 0 || out[len(out)-1].words[0] != "commit" {
				return wrong(errors.New("a record is not below a commit"))
			}
			last := &out[len(out)-1]
			last.records = append(last.records, line)
			continue
		}
		s := parseStatement(line)
		s.line = i + 1
		if !begun {
			if s.words[0] != "lab" {
				return wrong(errors.New("a script begins with lab and its options"))
			}
			var err error
			if opts, err = labOptions(s.words[1:]); err != nil {
				return wrong(err)
			}
			begun = true
			continue
		}
		v, ok := verbs[s.words[0]]
		switch n := len(s.words) - 1; {
		case !ok:
			return wrong(fmt.Errorf("no statement is called %q", shortened(s.words[0])))
		case n < v.min || n > v.max:
			return wrong(fmt.Errorf("%s has %d words after it: want %d to %d", s.words[0], n, v.min, v.max))
		case s.checks != v.checks:
			return wrong(fmt.Errorf("%s: an equals sign and what is expected are for ask, arrives and visible", s.words[0]))
		}
		if out = append(out, s); len(out) > maxStatements {
			return wrong(fmt.Errorf("script has more than %d statements", maxStatements))
		}
	}
	if !begun {
		return nil, nil, errors.New("script is empty")
	}
	return opts, out, nil
}

// parseStatement reads a line that is not blank.
func parseStatement(line string) statement {
	s := statement{text: line}
	if text, want, ok := strings.Cut(line, " ="); ok && (want == "" || want[0] == ' ') {
		s.text, s.want, s.checks = strings.TrimSpace(text), strings.TrimSpace(want), true
	}
	s.words = strings.Fields(s.text)
	return s
}

// labOptions reads the options of a Lab.
func labOptions(words []string) (opts []Option, err error) {
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "profile":
			opts = append(opts, Profile(value))
		case "seed":
			seed, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("seed %q is not a number", shortened(value))
			}
			opts = append(opts, Seed(seed))
		case "zone":
			opts = append(opts, PublicZone(value))
		case "resolver":
			opts = append(opts, Resolver(value))
		default:
			return nil, fmt.Errorf("option %q is not one of profile, seed, zone, resolver", shortened(key))
		}
	}
	return opts, nil
}

// duration reads one of a script.
func duration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxAdvance {
		return 0, fmt.Errorf("%q is not a duration from 0 to %v, such as 1m30s", shortened(text), maxAdvance)
	}
	return d, nil
}

// settings reads key=value words by the keys that there may be.
func settings(words []string, keys ...string) (map[string]string, error) {
	out := map[string]string{}
	for _, word := range words {
		key, value, ok := strings.Cut(word, "=")
		if !ok || value == "" || !slices.Contains(keys, key) {
			return nil, fmt.Errorf("%q: want one of %s, and a value", shortened(word), strings.Join(keys, "=, ")+"=")
		}
		if _, twice := out[key]; twice {
			return nil, fmt.Errorf("%s is given twice", key)
		}
		out[key] = value
	}
	return out, nil
}
