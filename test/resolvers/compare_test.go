package resolvers

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/dnstest"
)

// direct is a profile under which every change arrives at once.
const direct = `name: direct
positive-ttl: 60s
negative-ttl: 120s
`

const (
	stepsPerMode = 10_000
	stepsPer     = 24 // of a history
)

// said is an answer as it is compared.
type said struct {
	rcode   string
	records string // without TTLs
	ttls    string
}

func (s said) String() string {
	return strings.TrimSpace(s.rcode + " " + s.records + " [" + s.ttls + "]")
}

// heard is what there is to compare of a response: its code, its answer, the
// time for which absence may be kept.
func heard(r *dns.Msg) said {
	s := said{rcode: dns.RcodeToString[r.Rcode]}
	var records, ttls []string
	for _, rr := range r.Answer {
		text := fmt.Sprintf("%s %s %s", strings.ToLower(rr.Header().Name), dns.TypeToString[rr.Header().Rrtype], strings.TrimPrefix(rr.String(), rr.Header().String()))
		records, ttls = append(records, text), append(ttls, fmt.Sprintf("%s %d", text, rr.Header().Ttl))
	}
	slices.Sort(records)
	slices.Sort(ttls)
	for i, text := range ttls {
		ttls[i] = text[strings.LastIndexByte(text, ' ')+1:]
	}
	if r.Rcode == dns.RcodeNameError || r.Rcode == dns.RcodeSuccess && len(r.Answer) == 0 {
		for _, rr := range r.Ns {
			if rr.Header().Rrtype == dns.TypeSOA {
				ttls = append(ttls, fmt.Sprint("SOA ", rr.Header().Ttl))
			}
		}
	}
	s.records, s.ttls = strings.Join(records, ", "), strings.Join(ttls, " ")
	return s
}

// world is our servers and one real resolver, on one clock.
type world struct {
	t      *testing.T
	lab    *dnstest.Lab
	clock  clock
	mode   mode
	ours   string
	theirs string
}

func newWorld(t *testing.T, w software, m mode) *world {
	lab := dnstest.Start(t, dnstest.ProfileYAML(direct), dnstest.PublicZone("example.com"), dnstest.Resolver(m.options()))
	lab.Set("ready.example.com", "10.0.0.1")
	c := newClock(t)
	if err := c.set(lab.Now()); err != nil {
		t.Fatal(err)
	}
	_, text, err := net.SplitHostPort(lab.Addr(dnstest.NS1))
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, lab: lab, clock: c, mode: m, ours: lab.Addr(dnstest.Place(m.name)), theirs: w.run(t, c, port, m)}
}

// play plays a history up to its first difference that is not passing. It returns
// how many answers were compared, and that difference, nil if there is none.
func (w *world) play(h history, passing func(*difference) bool) (compared int, d *difference) {
	failing := false
	var failed []string // names that were asked for meanwhile
	defer w.lab.ClearFaults()
	for i, s := range h.steps {
		switch {
		case s.change != "":
			w.lab.Commit(s.change)
		case s.fault == "fail":
			failing = true
			w.lab.Fault(dnstest.Fault{Kind: "dns-servfail", Zone: h.suffix})
		case s.fault == "mend":
			failing = false
			w.lab.ClearFaults()
		case s.advance > 0:
			w.lab.Advance(s.advance)
			if err := w.clock.set(w.lab.Now()); err != nil {
				w.t.Fatal(err)
			}
		default:
			if failing {
				failed = append(failed, s.name)
			}
			ours, err := exchange(w.ours, s.name, s.qtype)
			if err != nil {
				w.t.Fatalf("ours: %v", err)
			}
			theirs, err := exchange(w.theirs, s.name, s.qtype)
			if err != nil {
				w.t.Fatalf("theirs: %v after\n%v", err, history{steps: h.steps[:i+1]})
			}
			compared++
			if a, b := heard(ours), heard(theirs); a != b {
				d := &difference{world: w, steps: h.steps[:i+1], asked: s, ours: a, theirs: b, failed: failed}
				if !passing(d) {
					return compared, d
				}
			}
		}
	}
	return compared, nil
}

// difference is the first of a history.
type difference struct {
	*world
	steps        []step
	asked        step
	ours, theirs said
	failed       []string // names that were asked for while the authorities failed
}

func (d *difference) String() string {
	return fmt.Sprintf("ours   %v\ntheirs %v\nafter\n%v", d.ours, d.theirs, history{steps: d.steps})
}

// TestResolversAgree plays the same histories for us and for each real resolver.
func TestResolversAgree(t *testing.T) {
	steps := stepsPerMode
	if testing.Short() {
		steps /= 20
	}
	for _, w := range []software{unbound, knot, powerdns} {
		t.Run(w.name, func(t *testing.T) {
			seen := map[string]int{}
			total, different := 0, 0
			unexplained := 0
			for _, m := range modes {
				world := newWorld(t, w, m)
				rng := rand.New(rand.NewPCG(1, uint64(len(m.name))))
				for played, i := 0, 0; played < steps; i++ {
					h := generate(rng, i, stepsPer)
					compared, d := world.play(h, func(d *difference) bool {
						e := explain(w, d)
						if e == nil || !e.passing {
							return false
						}
						seen[e.id]++
						different++
						return true
					})
					total += compared
					if d == nil {
						played += len(h.steps)
						continue
					}
					played += len(d.steps)
					different++
					if e := explain(w, d); e != nil {
						seen[e.id]++
					} else {
						if unexplained++; unexplained <= 5 {
							t.Errorf("%s %s: not explained:\n%v", w.name, m.name, d)
						}
					}
				}
			}
			var counts []string
			for _, id := range slices.Sorted(maps.Keys(seen)) {
				counts = append(counts, fmt.Sprintf("%s %d", id, seen[id]))
			}
			t.Logf("%s: %d steps, %d answers compared, %d the same; the others: %s", w.name, len(modes)*steps, total, total-different, strings.Join(counts, ", "))
			if unexplained > 5 {
				t.Errorf("%d more differences are not explained", unexplained-5)
			}
			if !testing.Short() {
				for _, k := range known {
					if k.by(w) && seen[k.id] == 0 {
						t.Errorf("the difference %q, which is listed for %s, never shows", k.id, w.name)
					}
				}
			}
		})
	}
}
