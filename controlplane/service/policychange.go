package service

import (
	"context"
	"log/slog"

	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/policy/diff"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// policyChange is the policy that a stage serves and the one that a deployment
// puts in its place.
type policyChange struct {
	api, stage string
	under      string // how the ARNs of the stage's resources begin
	live, next string
}

// changeOfPolicy is what a deployment of the API to a stage changes; nil if it
// changes no text of a policy: there is no such stage yet, or the policy is the
// same.
func changeOfPolicy(a *restAPI, stage string) *policyChange {
	served := a.child(statev1.Type_TYPE_STAGE, stage).GetStage()
	live := a.child(statev1.Type_TYPE_DEPLOYMENT, served.GetDeploymentId()).GetDeployment().GetRestApi()
	if live == nil || effectivePolicy(live) == effectivePolicy(a.RestApi) {
		return nil
	}
	return &policyChange{
		api: a.GetId(), stage: stage,
		under: "arn:" + policy.PartitionOf(a.who.Region) + ":execute-api:" + a.who.Region + ":" + a.who.Account + ":" + a.GetId() + "/" + stage + "/",
		live:  effectivePolicy(live), next: effectivePolicy(a.RestApi),
	}
}

// openPolicy is what a public API without a policy amounts to. A private one is
// as good as a policy that allows nothing, but it can't be deployed.
const openPolicy = `{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}`

func effectivePolicy(a *apigatewayv1.RestApi) string {
	switch {
	case a.Policy != nil:
		return a.GetPolicy()
	case isPrivate(a):
		return ""
	}
	return openPolicy
}

// changeBudget lets comparing take some milliseconds, and a tenth of a second
// if policies are made to make it hard.
const changeBudget = 2_000_000

// log says what a committed deployment lets in and keeps out. A comparison is
// a service to the reader of the log: nothing that goes wrong in it reaches
// the caller, whose deployment is done.
func (c *policyChange) log(ctx context.Context, logger *slog.Logger) {
	if c == nil || !logger.Enabled(ctx, slog.LevelInfo) {
		return
	}
	logger = logger.With("api_id", c.api, "stage", c.stage)
	defer func() {
		if p := recover(); p != nil {
			logger.Error("policies could not be compared", "panic", p)
		}
	}()
	r, err := c.compare()
	if err != nil {
		logger.Error("policies could not be compared", "error", err)
		return
	}
	attrs := []slog.Attr{slog.String("verdict", string(r.Verdict))}
	for _, w := range []struct {
		name    string
		witness *diff.Witness
	}{
		{"newly_allowed", r.NewlyAllowed}, {"newly_denied", r.NewlyDenied},
		{"newly_explicit", r.NewlyExplicit}, {"newly_silent", r.NewlySilent},
	} {
		if w.witness != nil {
			attrs = append(attrs, slog.String(w.name, w.witness.Summary()))
		}
	}
	if len(r.Undecided) > 0 {
		attrs = append(attrs, slog.Any("undecided", r.Undecided), slog.String("reason", r.Reason))
	}
	logger.LogAttrs(ctx, slog.LevelInfo, "deployment changes the policy of its stage", attrs...)
}

func (c *policyChange) compare() (diff.Result, error) {
	var docs [2]*policy.Document
	for i, text := range []string{c.live, c.next} {
		if text == "" {
			continue
		}
		var err error
		if docs[i], err = policy.Parse([]byte(text)); err != nil {
			return diff.Result{}, err
		}
	}
	return diff.Compare(docs[0], docs[1], diff.Options{Under: c.under, Budget: changeBudget})
}
