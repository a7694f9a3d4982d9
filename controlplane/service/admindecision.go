package service

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/posternhq/postern/controlplane/apierr"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Decisions finds what the edges refused.
type Decisions interface {
	// FindDecision asks every edge that some node can reach. An error means that
	// none could be asked.
	FindDecision(ctx context.Context, id string) (*DecisionFinding, error)
}

// DecisionFinding is what came of looking for a decision.
type DecisionFinding struct {
	// Decision is nil if no edge that was asked holds it.
	Decision *edgev1.Decision
	// Searches say what became of asking each edge.
	Searches []*edgev1.DecisionSearch
	// Silent are the nodes, by id, whose edges could not be asked, and why.
	Silent map[string]string
}

// decisionID is how the edges make them.
var decisionID = regexp.MustCompile(`^[0-9a-hjkmnp-tv-z]{10}$`)

// ExplainDecision finds a refusal wherever the edge that made it is connected.
func (a *admin) ExplainDecision(ctx context.Context, req *adminv1.ExplainDecisionRequest) (*adminv1.ExplainDecisionResponse, error) {
	id := req.GetId()
	if !decisionID.MatchString(id) {
		return nil, apierr.BadRequest("Invalid decision id %.64q: an answer's x-postern-decision has ten letters and digits, without i, l, o and u", id)
	}
	found, err := a.cfg.Decisions.FindDecision(ctx, id)
	if err != nil {
		return nil, err
	}
	if found.Decision == nil {
		return nil, apierr.NotFound("no edge holds decision %s. An edge keeps its last refusals until it stops. %s", id, a.lookedFor(found))
	}
	return &adminv1.ExplainDecisionResponse{Decision: found.Decision}, nil
}

// lookedFor says who was asked in vain, and who could not be.
func (a *admin) lookedFor(f *DecisionFinding) string {
	asked, missed := map[string]string{}, map[string]string{}
	for r := range a.cfg.Cluster.StaleView().All(statev1.Type_TYPE_PLACE) {
		if p := r.GetPlace(); p.GetKind() == "edge" {
			missed[p.GetId()] = "connected to no node that answered"
		}
	}
	for _, s := range f.Searches {
		if s.GetUnreachable() != "" {
			missed[s.GetEdge()] = s.GetUnreachable()
			continue
		}
		asked[s.GetEdge()] = fmt.Sprintf("keeps %d, has %d", s.GetCapacity(), s.GetKept())
		if s.GetKept() > 0 {
			asked[s.GetEdge()] += " since " + time.Unix(0, s.GetOldestUnixNano()).UTC().Format(time.RFC3339)
		}
	}
	for edge := range asked {
		delete(missed, edge) // it is connected twice, and one stream is dead
	}
	for node, why := range f.Silent {
		missed["those of node "+node] = why
	}
	text := "Asked: " + listed(asked) + "."
	if len(missed) > 0 {
		text += " Not reached: " + listed(missed) + "."
	}
	return text
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
