package publish_test

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/dataplane/receive"
	clusterv1 "github.com/posternhq/postern/proto/postern/cluster/v1"
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

func askFor(ctx context.Context, n *node, decision string) []*clusterv1.Reply {
	return n.pub.Ask(ctx, syncv1.Domain_DOMAIN_EDGE, &syncv1.Query{Question: &syncv1.Query_Decision{Decision: decision}})
}

func TestAsk(t *testing.T) {
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
	for id, edge := range map[string]string{"aaaaaaaaaa": "edge-1", "bbbbbbbbbb": "edge-2", "cccccccccc": "edge-2"} {
		if r := askFor(ctx, l.nodes[0], id); len(r) != 1 || r[0].GetCarrier() != edge || r[0].GetAnswer().GetDecision().GetId() != id {
			t.Errorf("asked for %s, got %v", id, r)
		}
	}
	replies := askFor(ctx, l.nodes[0], "dddddddddd")
	if len(replies) != 2 {
		t.Fatalf("of an edge of another node: %v", replies)
	}
	for i, want := range []*edgev1.DecisionSearch{{Capacity: 10, Kept: 1}, {Capacity: 10, Kept: 2}} {
		if r := replies[i]; r.GetCarrier() != fmt.Sprintf("edge-%d", i+1) || !proto.Equal(r.GetAnswer().GetSearch(), want) {
			t.Errorf("of an edge of another node: %v", r)
		}
	}
	if r := askFor(ctx, l.nodes[1], "dddddddddd"); len(r) != 1 || r[0].GetAnswer().GetDecision() == nil {
		t.Errorf("the other node does not find it: %v", r)
	}
	if r := l.nodes[0].pub.Ask(ctx, syncv1.Domain_DOMAIN_DNS, &syncv1.Query{}); len(r) != 0 {
		t.Errorf("edges are asked what is for DNS servers: %v", r)
	}
	brief, stop := context.WithTimeout(ctx, 50*time.Millisecond)
	defer stop()
	if r := askFor(brief, l.nodes[1], strings.Repeat("x", 100)); len(r) != 1 || r[0].GetAnswer() != nil || r[0].GetUnanswered() == "" {
		t.Errorf("no edge reads such an id: %v", r)
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
		replies := askFor(ctx, n, "aaaaaaaaaa")
		if len(replies) != 1 || replies[0].GetCarrier() != "edge-1" {
			t.Fatalf("%v", replies)
		}
		return cmp.Or(replies[0].GetUnanswered(), fmt.Sprint("keeps ", replies[0].GetAnswer().GetSearch().GetCapacity()))
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
		answer(&syncv1.Answer{Id: q.GetId(), Message: &syncv1.Answer_Search{Search: &edgev1.DecisionSearch{Capacity: 7}}})
	}
	for range 16 {
		if why := <-answers; why != "keeps 7" {
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
	if r := askFor(ctx, n, "aaaaaaaaaa"); len(r) != 0 {
		t.Errorf("without edges: %v", r)
	}
}
