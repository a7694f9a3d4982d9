package service

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	clusterv1 "github.com/posternhq/postern/proto/postern/cluster/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// Questions asks edges and DNS servers what only they know.
type Questions interface {
	// Ask puts a question to every client of a domain that some node can reach. An
	// error means that none could be asked.
	Ask(ctx context.Context, domain syncv1.Domain, q *syncv1.Query) (*Asked, error)
}

// Asked is what came of a question.
type Asked struct {
	// Replies say what became of asking each; one whose answer leaves nothing to
	// ask is alone.
	Replies []*clusterv1.Reply
	// Silent are the nodes, by id, whose clients could not be asked, and why.
	Silent map[string]string
}

// unreached are the clients that have a registered place of a kind and did not
// answer, and the nodes that could not be asked, with the reasons. One
// that is connected twice, of which one stream is dead, has answered.
func (a *admin) unreached(f *Asked, kind string, answered func(carrier string) bool) map[string]string {
	missed := map[string]string{}
	for r := range a.cfg.Cluster.StaleView().All(statev1.Type_TYPE_PLACE) {
		p := r.GetPlace()
		if carrier := cmp.Or(p.GetCarrier(), p.GetId()); p.GetKind() == kind && !answered(carrier) {
			missed[carrier] = "connected to no node that answered"
		}
	}
	for _, r := range f.Replies {
		if !answered(r.GetCarrier()) {
			missed[r.GetCarrier()] = r.GetUnanswered()
			if missed[r.GetCarrier()] == "" {
				missed[r.GetCarrier()] = "it does not know the question"
			}
		}
	}
	for node, why := range f.Silent {
		missed["those of node "+node] = why
	}
	return missed
}

func listed(m map[string]string) string {
	if len(m) == 0 {
		return "none"
	}
	var items []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		items = append(items, name+" ("+m[name]+")")
	}
	return strings.Join(items, ", ")
}
