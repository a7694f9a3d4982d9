package vpcclient

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func message(t testing.TB, id uint16, name string, answered bool, rcode dnsmessage.RCode, ttls ...uint32) []byte {
	t.Helper()
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: id, Response: answered, RCode: rcode, RecursionDesired: true}}
	n := dnsmessage.MustNewName(name)
	m.Questions = []dnsmessage.Question{{Name: n, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}
	for i, ttl := range ttls {
		h := dnsmessage.ResourceHeader{Name: n, Class: dnsmessage.ClassINET, TTL: ttl}
		if rcode != 0 {
			h.Type = dnsmessage.TypeSOA
			m.Authorities = append(m.Authorities, dnsmessage.Resource{Header: h, Body: &dnsmessage.SOAResource{NS: n, MBox: n, MinTTL: 900}})
			continue
		}
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: [4]byte{10, 0, 0, byte(i)}}})
	}
	out, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// lab is a cache on a clock of its own, and what its resolver says next.
type cacheLab struct {
	t     *testing.T
	now   time.Time
	speed float64
	says  []byte
	asked int
	answers
}

func newCacheLab(t *testing.T, keep func(bool, time.Duration) time.Duration) *cacheLab {
	l := &cacheLab{t: t, now: time.Unix(1e9, 0), speed: 1}
	l.cache = &Cache{Keep: keep, Now: func(context.Context) (time.Time, float64) { return l.now, l.speed }}
	return l
}

// ask returns the response code and the TTLs, and whether the resolver was asked.
func (l *cacheLab) ask(resolver, name string) string {
	l.t.Helper()
	before := l.asked
	query := message(l.t, 77, name, false, 0)
	response, err := l.answers.ask(context.Background(), resolver, query, func() ([]byte, error) {
		l.asked++
		if l.says == nil {
			return nil, errors.New("no answer")
		}
		return l.says, nil
	})
	if err != nil {
		return err.Error()
	}
	var m dnsmessage.Message
	if err := m.Unpack(response); err != nil {
		l.t.Fatal(err)
	}
	if l.asked == before && (m.ID != 77 || m.Questions[0].Name.String() != name) {
		l.t.Errorf("answer %d to %s from the cache", m.ID, m.Questions[0].Name)
	}
	text := fmt.Sprint(m.RCode)
	for _, r := range append(m.Answers, m.Authorities...) {
		text += fmt.Sprint(" ", r.Header.TTL)
	}
	if l.asked > before {
		text += " asked"
	}
	return text
}

func (l *cacheLab) expect(resolver, name, want string) {
	l.t.Helper()
	if got := l.ask(resolver, name); got != want {
		l.t.Errorf("%s at %v: %q, want %q", name, l.now.Sub(time.Unix(1e9, 0)), got, want)
	}
}

func TestCacheByTTL(t *testing.T) {
	l := newCacheLab(t, func(_ bool, ttl time.Duration) time.Duration { return ttl })
	l.says = message(t, 1, "a.example.", true, 0, 60, 30)
	l.expect("r1", "a.example.", "RCodeSuccess 60 30 asked")
	l.now = l.now.Add(20 * time.Second)
	l.expect("r1", "A.Example.", "RCodeSuccess 10 10")
	l.expect("r2", "a.example.", "RCodeSuccess 60 30 asked")
	l.now = l.now.Add(10 * time.Second)
	l.says = message(t, 1, "a.example.", true, dnsmessage.RCodeNameError, 100)
	l.expect("r1", "a.example.", "RCodeNameError 100 asked")
	l.says = message(t, 1, "a.example.", true, 0, 60)
	l.now = l.now.Add(100*time.Second - 1)
	l.expect("r1", "a.example.", "RCodeNameError 0")
	l.now = l.now.Add(1)
	l.expect("r1", "a.example.", "RCodeSuccess 60 asked")

	// In a lab that runs faster, the client's seconds are many.
	l.speed = 60
	l.now = l.now.Add(time.Hour)
	l.expect("r1", "a.example.", "RCodeSuccess 60 asked")
	l.now = l.now.Add(30 * time.Minute)
	l.expect("r1", "a.example.", "RCodeSuccess 30")
	l.speed = 0
	l.expect("r1", "a.example.", "RCodeSuccess 0")
}

// A JVM goes on failing, or connecting to what is gone, whatever the TTL.
func TestCacheByFixedTimes(t *testing.T) {
	l := newCacheLab(t, func(positive bool, _ time.Duration) time.Duration {
		if positive {
			return 30 * time.Second
		}
		return 10 * time.Second
	})
	l.says = message(t, 1, "a.example.", true, dnsmessage.RCodeNameError, 1)
	l.expect("r", "a.example.", "RCodeNameError 1 asked")
	l.says = message(t, 1, "a.example.", true, 0, 1)
	l.now = l.now.Add(9 * time.Second)
	l.expect("r", "a.example.", "RCodeNameError 1")
	l.now = l.now.Add(time.Second)
	l.expect("r", "a.example.", "RCodeSuccess 1 asked")
	l.now = l.now.Add(29 * time.Second)
	l.expect("r", "a.example.", "RCodeSuccess 1")
	l.now = l.now.Add(time.Second)
	l.expect("r", "a.example.", "RCodeSuccess 1 asked")
}

func TestCacheKeepsNoFailure(t *testing.T) {
	l := newCacheLab(t, func(bool, time.Duration) time.Duration { return time.Hour })
	for name, says := range map[string][]byte{
		"failure":    message(t, 1, "a.example.", true, dnsmessage.RCodeServerFailure),
		"no SOA":     message(t, 1, "a.example.", true, dnsmessage.RCodeNameError),
		"no answer":  nil,
		"no message": {1, 2, 3},
	} {
		l.says = says
		query := message(t, 5, "a.example.", false, 0)
		for range 2 {
			before := l.asked
			_, _ = l.answers.ask(context.Background(), "r", query, func() ([]byte, error) { l.asked++; return says, nil })
			if l.asked != before+1 {
				t.Errorf("%s was kept", name)
			}
		}
	}
	l.says = message(t, 1, "b.example.", true, 0, 60)
	l.cache.Keep = func(bool, time.Duration) time.Duration { return 1<<63 - 1 } // for ever
	l.expect("r", "b.example.", "RCodeSuccess 60 asked")
	l.now = l.now.Add(100 * 365 * 24 * time.Hour)
	l.expect("r", "b.example.", "RCodeSuccess 60")
}

func TestCacheIsBounded(t *testing.T) {
	l := newCacheLab(t, func(bool, time.Duration) time.Duration { return time.Hour })
	for i := range 3 * maxAnswers {
		name := fmt.Sprintf("n%d.example.", i)
		l.says = message(t, 1, name, true, 0, 60)
		l.ask("r", name)
	}
	if len(l.known) > maxAnswers {
		t.Errorf("%d answers are kept", len(l.known))
	}
}

// Whatever resolver and program say: no panic, and answers from the cache have
// the size of what was cached.
func FuzzCache(f *testing.F) {
	f.Add(message(f, 1, "a.example.", false, 0), message(f, 1, "a.example.", true, 0, 60, 30))
	f.Add(message(f, 1, "a.example.", false, 0), message(f, 1, "a.example.", true, dnsmessage.RCodeNameError, 60))
	f.Fuzz(func(t *testing.T, query, response []byte) {
		a := answers{cache: &Cache{
			Keep: func(bool, time.Duration) time.Duration { return time.Minute },
			Now:  func(context.Context) (time.Time, float64) { return time.Unix(0, 0), 1 },
		}}
		for range 2 {
			got, err := a.ask(context.Background(), "r", query, func() ([]byte, error) { return response, nil })
			if err != nil || len(got) != len(response) {
				t.Errorf("%d bytes of %d, %v", len(got), len(response), err)
			}
		}
	})
}
