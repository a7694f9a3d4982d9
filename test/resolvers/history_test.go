package resolvers

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// apex is the zone of all histories; each has names of its own below it.
const apex = "example.com."

// step is one thing that happens in a history.
type step struct {
	// One of these.
	change  string // a record in zone-file notation, or "- NAME TYPE"
	fault   string // fail, mend
	advance time.Duration
	name    string // that is asked for
	qtype   uint16
}

func (s step) String() string {
	switch {
	case s.change != "":
		return "change " + s.change
	case s.fault != "":
		return s.fault
	case s.advance > 0:
		return "advance " + s.advance.String()
	}
	return "ask " + s.name + " " + dns.TypeToString[s.qtype]
}

// history is what happens to a few names, below one that is the history's own.
type history struct {
	suffix string
	steps  []step
}

func (h history) String() string {
	var b strings.Builder
	for _, s := range h.steps {
		fmt.Fprintf(&b, "\t%v\n", s)
	}
	return b.String()
}

// generate makes a history of n steps. It begins with records of some names, for
// most histories have something to ask for.
func generate(rng *rand.Rand, number, n int) history {
	h := history{suffix: fmt.Sprintf("h%d.%s", number, apex)}
	address := 0
	records := map[string]string{} // name and type: what is there
	name := func(label string) string { return label + "." + h.suffix }
	labels := []string{"a", "b", "x.a", "y.b"}
	ttls := []int{1, 5, 30, 60, 300, 3600}
	change := func() step {
		owner := name(labels[rng.IntN(len(labels))])
		kind := []string{"A", "A", "A", "AAAA", "TXT"}[rng.IntN(5)]
		if rng.IntN(6) == 0 {
			owner, kind = name("c"), "CNAME"
		}
		key := owner + " " + kind
		if records[key] != "" && rng.IntN(2) == 0 {
			delete(records, key)
			return step{change: "- " + key}
		}
		address++
		data := map[string]string{
			"A": fmt.Sprintf("10.%d.%d.%d", number/250%250, number%250, address), "AAAA": fmt.Sprintf("fd00::%x:%x", number, address),
			"TXT": fmt.Sprintf(`"t%d"`, address), "CNAME": name(labels[rng.IntN(2)]),
		}[kind]
		records[key] = data
		return step{change: fmt.Sprintf("%s %d IN %s %s", owner, ttls[rng.IntN(len(ttls))], kind, data)}
	}
	for range rng.IntN(4) {
		h.steps = append(h.steps, change())
	}
	for len(h.steps) < n {
		switch rng.IntN(10) {
		case 0, 1:
			h.steps = append(h.steps, change())
		case 2:
			h.steps = append(h.steps, step{fault: []string{"fail", "mend", "mend"}[rng.IntN(3)]})
		case 3, 4, 5:
			h.steps = append(h.steps, step{advance: time.Duration([]int{1, 1, 2, 4, 7, 13, 29, 30, 31, 60, 130, 700}[rng.IntN(12)]) * time.Second})
		default:
			label := append(labels, "c", "nobody", "z.nobody")[rng.IntN(len(labels)+3)]
			h.steps = append(h.steps, step{name: name(label), qtype: []uint16{dns.TypeA, dns.TypeA, dns.TypeA, dns.TypeAAAA, dns.TypeTXT}[rng.IntN(5)]})
		}
	}
	return h
}
