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

// Route 53 is global: its records are of an account and of no region. Errors
// are in AWS's words where these are known.
type route53Server struct {
	route53v1.UnimplementedRoute53Server
	cfg Config
}

// NewRoute53 returns the Route 53 service.
func NewRoute53(cfg Config) route53v1.Route53Server {
	return &route53Server{cfg: cfg.withDefaults()}
}

// global is the key of one of the caller's records that are in no region.
func (c Caller) global(t statev1.Type, id string) state.Key {
	return state.Key{Type: t, Account: c.Account, ID: id}
}

// GetChange says whether every name server shows a change. A change is found
// from any region, but only by its own account.
func (s *route53Server) GetChange(ctx context.Context, req *route53v1.GetChangeRequest) (*route53v1.GetChangeResponse, error) {
	v, err := view(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	id := bareID(req.GetId(), "change")
	change := v.Get(state.Key{Type: statev1.Type_TYPE_DNS_CHANGE, ID: id}).GetDnsChange()
	if change == nil || change.GetAccount() != caller(ctx).Account {
		return nil, apierr.New(apierr.KindNotFound, "NoSuchChange", "Could not find resource with ID: /change/%s", id)
	}
	return &route53v1.GetChangeResponse{ChangeInfo: changeInfo(s.cfg, v, change)}, nil
}

// bareID cuts off what Route 53 writes before an id, and takes back.
func bareID(id, kind string) string {
	return strings.TrimPrefix(strings.TrimPrefix(id, "/"), kind+"/")
}

func changeInfo(cfg Config, v *state.View, change *statev1.DnsChange) *route53v1.ChangeInfo {
	status := "PENDING"
	if insync, ok := propagation.Insync(change); ok && !insync.After(dnsNow(cfg, v)) {
		status = "INSYNC"
	}
	info := &route53v1.ChangeInfo{
		Id:          new("/change/" + change.GetId()),
		Status:      new(status),
		SubmittedAt: new(timestamp(time.Unix(0, change.GetSubmittedAt()))),
	}
	if change.GetComment() != "" {
		info.Comment = new(change.GetComment())
	}
	return info
}

// zoneChange is the change of a user's zone that a write causes.
func zoneChange(cfg Config, v *state.View, c Caller, z *statev1.HostedZone, comment string, records []*statev1.RecordChange) *statev1.DnsChange {
	change := newDNSChange(cfg, v, records)
	change.Zone = &statev1.ZoneRef{Id: z.GetId(), Name: z.GetName(), Private: z.GetPrivate()}
	change.Comment = comment
	change.Subject = z.GetId()
	change.Account = c.Account
	return change
}

func changeRecord(change *statev1.DnsChange) *statev1.Record {
	id := state.Key{Type: statev1.Type_TYPE_DNS_CHANGE, ID: change.GetId()}
	return &statev1.Record{Key: id.Proto(), Value: &statev1.Record_DnsChange{DnsChange: change}}
}

func invalidInput(format string, args ...any) error {
	return apierr.New(apierr.KindInvalid, "InvalidInput", format, args...)
}
