package publish

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/posternhq/postern/controlplane/state"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	clusterv1 "github.com/posternhq/postern/proto/postern/cluster/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// ErrNotLeader is returned by a barrier on a node that does not lead, or stopped
// leading meanwhile: the question has to be asked elsewhere.
var ErrNotLeader = status.Error(codes.Unavailable, "this node does not lead")

const (
	// unreachableAfter is the silence after which a place is called unreachable.
	unreachableAfter = 3 * time.Second
	// startingFor is how long a place may be unheard of after an election
	// without being called unreachable.
	startingFor = 5 * time.Second
	// progressEvery spaces the progress that Wait reports.
	progressEvery = 100 * time.Millisecond
)

// drift is what the clocks of a place and of the leader may differ by over d,
// with something on top for a request that was decided just before.
func drift(d time.Duration) time.Duration { return d/50 + 500*time.Millisecond }

// BarrierConfig of a Barrier.
type BarrierConfig struct {
	// View returns a View at or after every write acknowledged before the call,
	// and fails if this node does not lead (any more).
	View  func(ctx context.Context) (*state.View, error)
	Store Store
	// Term is the node's consensus term; it changes with every election. With it
	// a leadership that was lost and won again unnoticed is known for another
	// one. Nil: SetLeading is relied on to tell.
	Term func() uint64
}

// Barrier knows on the leader what every place of the cluster acknowledged, and
// answers when all of them show a version.
type Barrier struct {
	cfg BarrierConfig

	mu       sync.Mutex
	leading  bool
	election uint64 // counts those that this node won
	term     uint64 // of the last one, if Term is known
	elected  time.Time
	places   map[string]*placeState
	changed  chan struct{} // closed and replaced whenever anything here changes
}

// placeState is what the nodes reported of a place. clean <= index.
type placeState struct {
	instance   string
	index      uint64
	clean      uint64
	rejections []*syncv1.Rejection
	contact    time.Time
	node       string // that the place is connected to; empty: none
}

// NewBarrier returns the barrier of a node that does not lead yet.
func NewBarrier(cfg BarrierConfig) *Barrier {
	return &Barrier{cfg: cfg, places: map[string]*placeState{}, changed: make(chan struct{})}
}

// SetLeading begins or ends this node's leadership. A new leader knows no
// acknowledgements: those that it knew of from before may be of places that
// were removed meanwhile. It counts silence from now.
func (b *Barrier) SetLeading(leading bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.leading == leading && (!leading || b.inTerm()) {
		return
	}
	b.leading = leading
	b.places = map[string]*placeState{}
	if leading {
		b.election++
		b.elected = time.Now()
		if b.cfg.Term != nil {
			b.term = b.cfg.Term()
		}
	}
	b.broadcast()
}

// inTerm says whether the term is still that of the last election.
func (b *Barrier) inTerm() bool { return b.cfg.Term == nil || b.cfg.Term() == b.term }

// holds says whether this node still leads by the election that it won.
func (b *Barrier) holds(election uint64) bool {
	return b.leading && b.election == election && b.inTerm()
}

func (b *Barrier) broadcast() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// leadership returns the election that this node leads by, 0 if it does not.
func (b *Barrier) leadership() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.holds(b.election) {
		return 0
	}
	return b.election
}

// merge takes the reports of a node; reports of one place may come through
// several nodes, in any order. It fails if this node leads no more.
func (b *Barrier) merge(election uint64, node string, reports []*clusterv1.PlaceReport) error {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.holds(election) {
		return ErrNotLeader
	}
	for _, r := range reports {
		contact := now.Add(-time.Duration(r.GetSilentMs()) * time.Millisecond)
		s := b.places[r.GetPlace()]
		if s == nil || s.instance != r.GetInstance() && !contact.Before(s.contact) {
			s = &placeState{instance: r.GetInstance()}
			b.places[r.GetPlace()] = s
		}
		if s.instance != r.GetInstance() {
			continue // of an instance that was replaced
		}
		s.index, s.clean = max(s.index, r.GetIndex()), max(s.clean, r.GetCleanIndex())
		if !contact.Before(s.contact) {
			s.contact, s.rejections = contact, r.GetRejections()
		}
		if r.GetConnected() {
			s.node = node
		} else if s.node == node {
			s.node = ""
		}
	}
	if len(reports) > 0 {
		b.broadcast()
	}
	return nil
}

// forget drops places that stale names, out of some ids or, with nil, of all.
func (b *Barrier) forget(ids map[string]bool, stale func(id, instance string) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, s := range b.places {
		if (ids == nil || ids[id]) && stale(id, s.instance) {
			delete(b.places, id)
		}
	}
}

// lost notes that a node reports no more.
func (b *Barrier) lost(node string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.places {
		if s.node == node {
			s.node = ""
		}
	}
	b.broadcast()
}

// take merges a report and returns an index at or after every version that a
// barrier of any leader called reached before the report was merged: reached
// versions are committed, and the View is taken, and leadership made sure of,
// afterwards.
func (b *Barrier) take(ctx context.Context, election uint64, node string, reports []*clusterv1.PlaceReport) (uint64, error) {
	if err := b.merge(election, node, reports); err != nil {
		return 0, err
	}
	v, err := b.cfg.View(ctx)
	if err != nil {
		return 0, err
	}
	return v.Index(), nil
}

// ReportPlaces is the leader's half of the RPC of the same name.
func (b *Barrier) ReportPlaces(stream clusterv1.Peer_ReportPlacesServer) error {
	election := b.leadership()
	if election == 0 {
		return ErrNotLeader
	}
	var node string
	defer func() {
		if node != "" {
			b.lost(node)
		}
	}()
	for {
		req, err := stream.Recv()
		if err != nil {
			return err
		}
		node = req.GetNode()
		index, err := b.take(stream.Context(), election, node, req.GetReports())
		if err != nil {
			return status.Errorf(codes.Unavailable, "take a report: %v", err)
		}
		if err := stream.Send(&clusterv1.ReportPlacesResponse{Index: index}); err != nil {
			return err
		}
	}
}

// Places returns what is known of the registered places of a View.
func (b *Barrier) Places(v *state.View) []*adminv1.Place {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []*adminv1.Place
	for r := range v.All(statev1.Type_TYPE_PLACE) {
		list = append(list, b.describe(r.GetPlace(), now))
	}
	return list
}

// of returns what is known of a place; nil for nothing of this instance.
func (b *Barrier) of(p *statev1.Place) *placeState {
	if s := b.places[p.GetId()]; s != nil && s.instance == p.GetInstance() {
		return s
	}
	return nil
}

func (b *Barrier) describe(p *statev1.Place, now time.Time) *adminv1.Place {
	out := &adminv1.Place{Id: p.GetId(), Kind: p.GetKind(), Az: p.GetAz(), Address: p.GetAddress(), State: "ready"}
	s := b.of(p)
	if s == nil {
		out.State, out.Reason = "starting", "not heard of since this leader was elected"
		if now.Sub(b.elected) > startingFor {
			out.State = "unreachable"
		}
		return out
	}
	out.Version, out.LastContactMs = s.index, s.contact.UnixMilli()
	silent := now.Sub(s.contact)
	switch {
	case s.node == "" || silent > unreachableAfter:
		out.State, out.Reason = "unreachable", fmt.Sprintf("silent for %s", silent.Round(100*time.Millisecond))
		if len(s.rejections) > 0 {
			out.Reason += "; before that: " + reasonOf(s.rejections)
		}
	case len(s.rejections) > 0:
		out.State, out.Reason = "nacked", reasonOf(s.rejections)
	case s.index == 0:
		out.State, out.Reason = "starting", "has acknowledged nothing yet"
	}
	return out
}

func reasonOf(list []*syncv1.Rejection) string {
	const shown = 3
	var parts []string
	for i, r := range list {
		if i == shown {
			parts = append(parts, fmt.Sprintf("and %d more", len(list)-shown))
			break
		}
		name := r.GetResource()
		if name == "" {
			name = "the snapshot"
		}
		parts = append(parts, name+": "+r.GetReason())
	}
	return strings.Join(parts, "; ")
}

// verdict on a place and a version.
type verdict int

const (
	shows   verdict = iota
	denies          // by itself, since it has been silent for longer than its bound
	blocks          // not yet, or nobody knows
	rejects         // it has the version, but for what it rejected
)

// judge says whether a place shows a version; for one that blocks, after which
// time that may change by itself, 0 if never.
func (b *Barrier) judge(p *statev1.Place, index uint64, now time.Time) (verdict, time.Duration) {
	contact := b.elected
	if s := b.of(p); s != nil {
		whole := len(s.rejections) > 0 && s.rejections[0].GetResource() == ""
		switch {
		case s.clean >= index:
			return shows, 0
		case len(s.rejections) > 0 && (whole || s.index >= index):
			return rejects, 0
		case s.contact.After(contact):
			contact = s.contact
		}
	}
	if bound := time.Duration(p.GetMaxStalenessMs()) * time.Millisecond; bound > 0 {
		left := bound + drift(bound) - now.Sub(contact)
		if left <= 0 {
			return denies, 0
		}
		return blocks, left
	}
	return blocks, 0
}
