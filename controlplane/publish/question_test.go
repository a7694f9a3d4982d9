package publish_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/dataplane/receive"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// holding is what an edge knows of its refusals.
type holding map[string]*edgev1.Decision

func (h holding) FindDecision(id string) (*edgev1.Decision, *edgev1.DecisionSearch) {
	if d := h[id]; d != nil {
		return d, nil
	}
	return nil, &edgev1.DecisionSearch{Capacity: 10, Kept: uint32(len(h))}
}

func TestFindDecision(t *testing.T) {
	l := newLab(t, 2)
	l.commit(deployed("aaaaaaaaaa", "d1", allow))
	at := func(n *node, d receive.Decisions) func(*receive.Config) {
		return func(c *receive.Config) { c.Servers, c.Decisions = []string{n.addr}, d }
	}
	l.joined("edge-1", at(l.nodes[0], holding{"aaaaaaaaaa": {Id: "aaaaaaaaaa"}}))
	l.joined("edge-2", at(l.nodes[0], holding{"bbbbbbbbbb": {Id: "bbbbbbbbbb"}, "cccccccccc": {Id: "cccccccccc"}}))
	l.joined("edge-3", at(l.nodes[1], holding{"dddddddddd": {Id: "dddddddddd"}}))
	l.reached(0)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, id := range []string{"aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc"} {
		if d, _ := l.nodes[0].pub.FindDecision(ctx, id); d.GetId() != id {
			t.Errorf("asked for %s, got %v", id, d)
		}
	}
	d, searches := l.nodes[0].pub.FindDecision(ctx, "dddddddddd")
	want := []*edgev1.DecisionSearch{{Edge: "edge-1", Capacity: 10, Kept: 1}, {Edge: "edge-2", Capacity: 10, Kept: 2}}
	if d != nil || len(searches) != 2 || !proto.Equal(searches[0], want[0]) || !proto.Equal(searches[1], want[1]) {
		t.Errorf("of an edge of another node: %v, %v", d, searches)
	}
	if d, _ := l.nodes[1].pub.FindDecision(ctx, "dddddddddd"); d == nil {
		t.Error("the other node does not find it")
	}
	brief, stop := context.WithTimeout(ctx, 50*time.Millisecond)
	defer stop()
	if d, searches := l.nodes[1].pub.FindDecision(brief, strings.Repeat("x", 100)); d != nil || len(searches) != 1 || searches[0].GetUnreachable() == "" {
		t.Errorf("no edge reads such an id: %v, %v", d, searches)
	}
}

// An edge that says nothing costs the asker his patience and the stream nothing.
func TestUnansweredQuestions(t *testing.T) {
	l := newLab(t, 1)
	l.commit(deployed("aaaaaaaaaa", "d1", allow))
	n := l.nodes[0]
	s := open(t, n, &syncv1.Hello{Domain: syncv1.Domain_DOMAIN_EDGE, Carrier: "edge-1", Places: []*syncv1.PlaceInfo{{Id: "edge-1", Kind: "edge", Instance: "i"}}})
	if next(t, s).GetSnapshot() == nil {
		t.Fatal("no snapshot")
	}
	ask := func(ctx context.Context) string {
		_, searches := n.pub.FindDecision(ctx, "aaaaaaaaaa")
		if len(searches) != 1 || searches[0].GetEdge() != "edge-1" {
			t.Fatalf("%v", searches)
		}
		return searches[0].GetUnreachable()
	}
	query := func() *syncv1.Query {
		for {
			if q := next(t, s).GetQuery(); q != nil {
				return q
			}
		}
	}
	answer := func(a *syncv1.Answer) {
		if err := s.Send(&syncv1.SubscribeRequest{Message: &syncv1.SubscribeRequest_Answer{Answer: a}}); err != nil {
			t.Fatal(err)
		}
	}
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	if why := ask(short()); why != "it did not answer in time" {
		t.Errorf("%q", why)
	}
	late := query()

	// No more than 16 wait; the others are told so at once.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answers := make(chan string, 17)
	for range 17 {
		go func() { answers <- ask(ctx) }()
	}
	if why := <-answers; why != "too many questions wait for it" {
		t.Errorf("%q", why)
	}
	// The late answer, and one to no question, reach nobody.
	answer(&syncv1.Answer{Id: late.GetId(), Message: &syncv1.Answer_Decision{Decision: &edgev1.Decision{Id: "late"}}})
	answer(&syncv1.Answer{Id: 1 << 40})
	seen := map[uint64]bool{late.GetId(): true}
	for range 16 {
		q := query()
		if q.GetDecision() != "aaaaaaaaaa" || seen[q.GetId()] {
			t.Fatalf("query %v", q)
		}
		seen[q.GetId()] = true
		answer(&syncv1.Answer{Id: q.GetId(), Message: &syncv1.Answer_Search{Search: &edgev1.DecisionSearch{Unreachable: "mine"}}})
	}
	for range 16 {
		if why := <-answers; why != "mine" {
			t.Errorf("%q", why)
		}
	}

	go func() { answers <- ask(ctx) }()
	answer(&syncv1.Answer{Id: query().GetId(), Message: &syncv1.Answer_Decision{Decision: &edgev1.Decision{Host: strings.Repeat("x", 3<<20)}}})
	if why := <-answers; why != "its answer is too large" {
		t.Errorf("%q", why)
	}

	// The stream ends under a question.
	go func() { answers <- ask(ctx) }()
	query()
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if why := <-answers; why != "its stream ended" {
		t.Errorf("%q", why)
	}
	if d, searches := n.pub.FindDecision(ctx, "aaaaaaaaaa"); d != nil || len(searches) != 0 {
		t.Errorf("without edges: %v, %v", d, searches)
	}
}
