package dnstest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posternhq/postern/dnsprop/propagation"
)

// player is a script at work.
type player struct {
	lab      *Lab
	start    time.Time
	below    string // the origin of names
	changes  map[string]*Change
	vpcs     map[string]*VPC
	got      map[int]string // what a check found, by line
	failures []failure
}

// failure is a check that found something else.
type failure struct {
	line            int
	text, got, want string
}

// play runs a script to its end, or to a statement that cannot be done.
func play(script string) (*player, error) {
	opts, statements, err := parseScript(script)
	if err != nil {
		return nil, err
	}
	l, err := newLab(opts)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	p := &player{lab: l, start: l.Now(), below: ".", changes: map[string]*Change{}, vpcs: map[string]*VPC{}, got: map[int]string{}}
	for _, s := range statements {
		if err := verbs[s.words[0]].run(p, s); err != nil {
			return p, fmt.Errorf("line %d: %w", s.line, err)
		}
	}
	return p, nil
}

// found compares what a check found.
func (p *player) found(s statement, got string) error {
	p.got[s.line] = got
	if got != s.want {
		p.failures = append(p.failures, failure{s.line, s.text, got, s.want})
	}
	return nil
}

func (p *player) origin(s statement) (err error) {
	p.below, err = absolute(s.words[1], p.below)
	return err
}

func (p *player) change(name string) (*Change, error) {
	if c := p.changes[name]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("no change is called %q", shortened(name))
}

func (p *player) commit(s statement) error {
	name, options := s.words[1], s.words[2:]
	private := slices.Contains(options, "private")
	options = slices.DeleteFunc(slices.Clone(options), func(w string) bool { return w == "private" })
	set, err := settings(options, "profile")
	if err != nil {
		return err
	}
	if profile := set["profile"]; profile != "" {
		if _, err := propagation.Lookup(profile); err != nil {
			return err
		}
	}
	if p.changes[name] != nil || strings.Contains(name, ".") {
		return fmt.Errorf("%q cannot name another change", shortened(name))
	}
	c, err := p.lab.commitLines(s.records, p.below, set["profile"], private)
	if err != nil {
		return err
	}
	p.changes[name] = c
	return nil
}

func (p *player) resend(s statement) error {
	c, err := p.change(s.words[1])
	if err != nil {
		return err
	}
	return c.resend()
}

func (p *player) zone(s statement) error {
	name, err := absolute(s.words[1], p.below)
	if err != nil {
		return err
	}
	_, err = p.lab.createZone(name, "", nil)
	return err
}

func (p *player) vpc(s statement) error {
	v, err := p.lab.newVPC(s.words[1], s.words[2:])
	if err != nil {
		return err
	}
	p.vpcs[s.words[1]] = v
	return nil
}

func (p *player) private(s statement) error {
	name, err := absolute(s.words[1], p.below)
	if err != nil {
		return err
	}
	var in []*VPC
	for _, word := range s.words[2:] {
		v := p.vpcs[word]
		if v == nil {
			return fmt.Errorf("no vpc is called %q", shortened(word))
		}
		in = append(in, v)
	}
	_, err = p.lab.createZone(name, "instant", in)
	return err
}

func (p *player) endpoint(s statement) error {
	v := p.vpcs[s.words[1]]
	if v == nil {
		return fmt.Errorf("no vpc is called %q", shortened(s.words[1]))
	}
	return v.endpoint(s.words[2:])
}

func (p *player) fault(s statement) error {
	set, err := settings(s.words[2:], "name", "zone", "place", "lag", "for")
	if err != nil {
		return err
	}
	f := Fault{Kind: s.words[1], Place: Place(set["place"])}
	for key, into := range map[string]*string{"name": &f.Name, "zone": &f.Zone} {
		if set[key] != "" {
			if *into, err = absolute(set[key], p.below); err != nil {
				return err
			}
		}
	}
	for key, into := range map[string]*time.Duration{"lag": &f.Lag, "for": &f.For} {
		if set[key] != "" {
			if *into, err = duration(set[key]); err != nil {
				return err
			}
		}
	}
	return p.lab.setFault(f)
}

func (p *player) preferTo(s statement) error {
	if len(s.words) == 1 {
		return p.lab.preferTo("")
	}
	return p.lab.preferTo(Place(s.words[1]))
}

func (p *player) after(s statement) error {
	d, err := duration(s.words[1])
	if err != nil {
		return err
	}
	return p.lab.advance(d)
}

func (p *player) settle(statement) error {
	_, err := p.lab.settle()
	return err
}

func (p *player) at(s statement) error {
	instant, err := p.instant(s.words[1])
	if err != nil {
		return err
	}
	if len(s.words) == 3 {
		return errors.New("an instant has + or - and a duration after it")
	}
	if len(s.words) == 4 {
		d, err := duration(s.words[3])
		if err != nil {
			return err
		}
		switch s.words[2] {
		case "+":
		case "-":
			d = -d
		default:
			return fmt.Errorf("%q is neither + nor -", shortened(s.words[2]))
		}
		instant = instant.Add(d)
	}
	if now := p.lab.Now(); instant.Before(now) {
		return fmt.Errorf("%v is past: it is %v", instant.Sub(p.start), now.Sub(p.start))
	}
	return p.lab.advanceTo(instant)
}

// instant is a time since the start, or one of a change's.
func (p *player) instant(text string) (time.Time, error) {
	name, which, ofChange := strings.Cut(text, ".")
	c := p.changes[name]
	if !ofChange || c == nil {
		d, err := duration(text)
		return p.start.Add(d), err
	}
	at, ok := time.Time{}, false
	switch which {
	case "insync":
		at, ok = c.Insync()
	case "first":
		for _, ns := range Authorities() {
			if t, arrives := c.Arrives(ns); arrives && (!ok || t.Before(at)) {
				at, ok = t, true
			}
		}
	default:
		if _, is := Place(which).authority(); !is {
			return at, fmt.Errorf("%q is not one of first, insync, ns1 to ns4", shortened(which))
		}
		at, ok = c.Arrives(Place(which))
	}
	if !ok {
		return at, fmt.Errorf("%s never comes: the change is lost", text)
	}
	return at, nil
}

func (p *player) ask(s statement) error {
	name, err := absolute(s.words[2], p.below)
	if err != nil {
		return err
	}
	places := []Place{Place(s.words[1])}
	if s.words[1] == "authorities" {
		places = Authorities()
	}
	var answers []string
	for _, at := range places {
		a, err := p.lab.query(at, name, s.words[3])
		if err != nil {
			return err
		}
		answers = append(answers, a.String())
	}
	return p.found(s, together(places, answers))
}

// together is what all places say, or what each says.
func together(places []Place, answers []string) string {
	if len(slices.Compact(slices.Clone(answers))) == 1 {
		return answers[0]
	}
	out := make([]string, len(places))
	for i, at := range places {
		out[i] = string(at) + " " + answers[i]
	}
	return strings.Join(out, "; ")
}

func (p *player) arrives(s statement) error {
	c, err := p.change(s.words[1])
	if err != nil {
		return err
	}
	var out []string
	for _, ns := range Authorities() {
		text := "never"
		if at, ok := c.Arrives(ns); ok {
			text = at.Sub(p.start).String()
		}
		out = append(out, string(ns)+" "+text)
	}
	return p.found(s, strings.Join(out, ", "))
}

func (p *player) visible(s statement) error {
	c, err := p.change(s.words[2])
	if err != nil {
		return err
	}
	places := []Place{Place(s.words[1])}
	if s.words[1] == "authorities" {
		places = Authorities()
	}
	var answers []string
	for _, at := range places {
		ok, err := c.visible(at)
		if err != nil {
			return err
		}
		answers = append(answers, map[bool]string{true: "yes", false: "no"}[ok])
	}
	return p.found(s, together(places, answers))
}

// rewritten is a script with what its checks found in place of what they
// expected.
func (p *player) rewritten(script string) string {
	lines := strings.Split(script, "\n")
	for line, got := range p.got {
		text, _, _ := strings.Cut(lines[line-1], " =")
		lines[line-1] = strings.TrimRight(text+" = "+got, " ")
	}
	return strings.Join(lines, "\n")
}
