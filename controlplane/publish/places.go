package publish

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	clusterv1 "github.com/posternhq/postern/proto/postern/cluster/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// connected are the places that speak to this node, or did, and what they
// acknowledged. An acknowledgement costs O(1), whatever their number.
type connected struct {
	metrics *metrics
	wake    chan struct{} // capacity 1: there is something to report

	mu       sync.Mutex
	carriers map[carrierKey]*carrier
	byPlace  map[string]*carrier
	dirty    map[*carrier]bool
}

type carrierKey struct {
	domain syncv1.Domain
	id     string
}

// carrier is a process and the places that it carries.
type carrier struct {
	key    carrierKey
	places map[string]*place
	stream *subscription // nil: not connected
	// The last message from the process: when it came, its number, and what the
	// process's clock showed.
	contact time.Time
	count   uint64
	sentAt  uint64
	// proof is the newest contact that the leader knows of.
	proof proof
}

// place is a place with what it acknowledged. clean <= index.
type place struct {
	id         string
	instance   string
	index      uint64
	clean      uint64 // newest index acknowledged with no rejection outstanding
	rejections []*syncv1.Rejection
	version    prometheus.Gauge
}

// proof says that the leader heard of a carrier's message number count, and that
// no version above need had been acknowledged to any writer before that.
type proof struct {
	count  uint64
	sentAt uint64
	need   uint64
}

func newConnected(m *metrics) *connected {
	return &connected{metrics: m, wake: make(chan struct{}, 1), carriers: map[carrierKey]*carrier{}, byPlace: map[string]*carrier{}, dirty: map[*carrier]bool{}}
}

// touch marks a carrier for the next report. The caller holds c.mu.
func (c *connected) touch(ca *carrier) {
	c.dirty[ca] = true
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// attach makes s the stream of its carrier and returns the one that it replaces.
// What places acknowledged before stays known as long as the instance is the same.
func (c *connected) attach(s *subscription, hello *syncv1.Hello) (replaced *subscription) {
	key := carrierKey{s.feed.domain, hello.GetCarrier()}
	c.mu.Lock()
	defer c.mu.Unlock()
	ca := c.carriers[key]
	if ca == nil {
		ca = &carrier{key: key}
		c.carriers[key] = ca
	}
	before := ca.places
	ca.places = make(map[string]*place, len(hello.GetPlaces()))
	for _, info := range hello.GetPlaces() {
		p := before[info.GetId()]
		if p == nil || p.instance != info.GetInstance() {
			p = &place{id: info.GetId(), instance: info.GetInstance()}
		}
		p.version = c.metrics.version.WithLabelValues(p.id)
		p.version.Set(float64(p.index))
		ca.places[p.id], c.byPlace[p.id] = p, ca
	}
	for id := range before {
		if ca.places[id] == nil {
			c.drop(ca, id)
		}
	}
	replaced, ca.stream = ca.stream, s
	ca.heard(hello.GetSentAt())
	ca.proof = proof{}
	s.carrier, s.firstCount = ca, ca.count
	c.touch(ca)
	return replaced
}

// detach ends a stream, if it has not been replaced.
func (c *connected) detach(s *subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ca := s.carrier
	if ca.stream != s {
		return
	}
	ca.stream = nil
	c.touch(ca)
	// Another node may have it from now on: two must not say different things.
	for id := range ca.places {
		c.metrics.version.DeleteLabelValues(id)
	}
}

func (ca *carrier) heard(sentAt uint64) {
	ca.contact = time.Now()
	ca.count++
	ca.sentAt = sentAt
}

// acknowledged takes an Ack. It returns false for one that names a version that
// was never sent.
func (c *connected) acknowledged(s *subscription, m *syncv1.Ack, sent uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	ca := s.carrier
	if ca.stream != s {
		return true // replaced: what it says may be of another instance
	}
	for _, v := range m.GetVersions() {
		if v.GetIndex() > sent {
			return false
		}
		if p := ca.places[v.GetPlace()]; p != nil {
			p.shows(v.GetIndex())
			p.clean, p.rejections = p.index, nil
		}
	}
	ca.heard(m.GetSentAt())
	c.touch(ca)
	return true
}

// rejected takes a Nack. A whole snapshot that was refused moves no version.
func (c *connected) rejected(s *subscription, m *syncv1.Nack, sent uint64) (whole, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ca := s.carrier
	for _, r := range m.GetRejections() {
		whole = whole || r.GetResource() == ""
	}
	if ca.stream != s {
		return whole, true
	}
	if m.GetIndex() > sent {
		return whole, false
	}
	of := func(p *place) {
		p.rejections = m.GetRejections()
		if !whole {
			p.shows(m.GetIndex())
		}
	}
	if p := ca.places[m.GetPlace()]; p != nil {
		of(p)
	} else {
		for _, p := range ca.places {
			of(p)
		}
	}
	ca.heard(m.GetSentAt())
	c.touch(ca)
	return whole, true
}

// shows moves a place's version forward.
func (p *place) shows(index uint64) {
	if index > p.index {
		p.index = index
		p.version.Set(float64(index))
	}
}

// forget drops places that stale names, out of some ids or, with nil, of all, and
// returns the streams that they came on.
func (c *connected) forget(ids map[string]bool, stale func(id, instance string) bool) (streams []*subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := func(id string, ca *carrier) {
		if p := ca.places[id]; p == nil || !stale(id, p.instance) {
			return
		}
		delete(ca.places, id)
		c.drop(ca, id)
		if ca.stream != nil {
			streams = append(streams, ca.stream)
		} else if len(ca.places) == 0 {
			delete(c.carriers, ca.key)
			delete(c.dirty, ca)
		}
	}
	if ids == nil {
		for id, ca := range c.byPlace {
			one(id, ca)
		}
		return streams
	}
	for id := range ids {
		if ca := c.byPlace[id]; ca != nil {
			one(id, ca)
		}
	}
	return streams
}

// drop removes what is known of a place outside its carrier.
func (c *connected) drop(ca *carrier, id string) {
	if c.byPlace[id] == ca {
		delete(c.byPlace, id)
		c.metrics.version.DeleteLabelValues(id)
	}
}

// marks remembers which message of each carrier a report covers.
type marks map[*carrier]proof

// collect takes what is to be reported: what changed, or all.
func (c *connected) collect(all bool) ([]*clusterv1.PlaceReport, marks) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	m := marks{}
	var reports []*clusterv1.PlaceReport
	add := func(ca *carrier) {
		m[ca] = proof{count: ca.count, sentAt: ca.sentAt}
		for _, p := range ca.places {
			reports = append(reports, &clusterv1.PlaceReport{
				Place: p.id, Instance: p.instance, Index: p.index, CleanIndex: p.clean, Rejections: p.rejections,
				SilentMs: now.Sub(ca.contact).Milliseconds(), Connected: ca.stream != nil,
			})
		}
	}
	if all {
		for _, ca := range c.carriers {
			add(ca)
		}
	} else {
		for ca := range c.dirty {
			add(ca)
		}
	}
	clear(c.dirty)
	return reports, m
}

// prove notes that the leader knows of the marked messages.
func (c *connected) prove(m marks, index uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ca, p := range m {
		// A stream that was attached meanwhile has its own clock and count.
		if p.count <= ca.proof.count || ca.stream == nil || p.count < ca.stream.firstCount {
			continue
		}
		ca.proof = proof{p.count, p.sentAt, index}
		ca.stream.poke()
	}
}

func (c *connected) proofOf(ca *carrier) proof {
	c.mu.Lock()
	defer c.mu.Unlock()
	return ca.proof
}
