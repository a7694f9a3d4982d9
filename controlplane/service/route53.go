package service

import (
	"context"
	"strings"
	"time"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dnsprop/propagation"
	route53v1 "github.com/posternhq/postern/proto/postern/route53/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

type route53Server struct {
	route53v1.UnimplementedRoute53Server
	cfg Config
}

// NewRoute53 returns the Route 53 service.
func NewRoute53(cfg Config) route53v1.Route53Server {
	return &route53Server{cfg: cfg.withDefaults()}
}

// GetChange says whether every name server shows a change. Route 53 is global,
// so a change is found from any region, but only by its own account.
func (s *route53Server) GetChange(ctx context.Context, req *route53v1.GetChangeRequest) (*route53v1.GetChangeResponse, error) {
	v, err := view(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	id := strings.TrimPrefix(strings.TrimPrefix(req.GetId(), "/"), "change/")
	change := v.Get(state.Key{Type: statev1.Type_TYPE_DNS_CHANGE, ID: id}).GetDnsChange()
	if change == nil || change.GetAccount() != caller(ctx).Account {
		return nil, apierr.New(apierr.KindNotFound, "NoSuchChange", "Could not find resource with ID: /change/%s", id)
	}
	status := "PENDING"
	if insync, ok := propagation.Insync(change); ok && !insync.After(dnsNow(s.cfg, v)) {
		status = "INSYNC"
	}
	info := &route53v1.ChangeInfo{
		Id:          new("/change/" + id),
		Status:      new(status),
		SubmittedAt: new(timestamp(time.Unix(0, change.GetSubmittedAt()))),
	}
	if change.GetComment() != "" {
		info.Comment = new(change.GetComment())
	}
	return &route53v1.GetChangeResponse{ChangeInfo: info}, nil
}
