package service

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/posternhq/postern/controlplane/apierr"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// decisionID is how the edges make them.
var decisionID = regexp.MustCompile(`^[0-9a-hjkmnp-tv-z]{10}$`)

// ExplainDecision finds a refusal wherever the edge that made it is connected.
func (a *admin) ExplainDecision(ctx context.Context, req *adminv1.ExplainDecisionRequest) (*adminv1.ExplainDecisionResponse, error) {
	id := req.GetId()
	if !decisionID.MatchString(id) {
		return nil, apierr.BadRequest("Invalid decision id %.64q: an answer's x-postern-decision has ten letters and digits, without i, l, o and u", id)
	}
	asked, err := a.cfg.Questions.Ask(ctx, syncv1.Domain_DOMAIN_EDGE, &syncv1.Query{Question: &syncv1.Query_Decision{Decision: id}})
	if err != nil {
		return nil, err
	}
	for _, r := range asked.Replies {
		if d := r.GetAnswer().GetDecision(); d != nil {
			return &adminv1.ExplainDecisionResponse{Decision: d}, nil
		}
	}
	return nil, apierr.NotFound("no edge holds decision %s. An edge keeps its last refusals until it stops. %s", id, a.lookedFor(asked))
}

// lookedFor says who was asked in vain, and who could not be.
func (a *admin) lookedFor(f *Asked) string {
	asked := map[string]string{}
	for _, r := range f.Replies {
		if s := r.GetAnswer().GetSearch(); s != nil {
			asked[r.GetCarrier()] = fmt.Sprintf("keeps %d, has %d", s.GetCapacity(), s.GetKept())
			if s.GetKept() > 0 {
				asked[r.GetCarrier()] += " since " + time.Unix(0, s.GetOldestUnixNano()).UTC().Format(time.RFC3339)
			}
		}
	}
	text := "Asked: " + listed(asked) + "."
	if missed := a.unreached(f, "edge", func(carrier string) bool { return asked[carrier] != "" }); len(missed) > 0 {
		text += " Not reached: " + listed(missed) + "."
	}
	return text
}
