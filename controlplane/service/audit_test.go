package service

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/metadata"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
)

func (l *adminLab) events(req *adminv1.ListAuditEventsRequest) []*adminv1.AuditEvent {
	return ok(l.ListAuditEvents(l.ctx(), req)).GetEvents()
}

func TestAuditOfWrites(t *testing.T) {
	l := newAdminLab(t)
	ctx := metadata.NewIncomingContext(context.Background(), metadata.Pairs(
		metaAccount, "111122223333", metaRegion, "eu-west-1", metaRequestID, "r1", metaSource, "127.0.0.1:9", metaUserAgent, "aws-cli "+strings.Repeat("x", 1000), metaAccessKey, "AKIDEXAMPLE",
	))
	vpc := ok(l.CreateVpc(ctx, &ec2v1.CreateVpcRequest{CidrBlock: new("10.0.0.0/16")})).GetVpc()
	all := l.events(&adminv1.ListAuditEventsRequest{})
	e := all[len(all)-1]
	if e.GetAccount() != "111122223333" || e.GetRegion() != "eu-west-1" || e.GetPrincipal() != "arn:aws:iam::111122223333:root" || e.GetAccessKeyId() != "AKIDEXAMPLE" ||
		e.GetSource() != "127.0.0.1:9" || len(e.GetUserAgent()) != maxAuditText || e.GetRequestId() != "r1" || e.GetIndex() != l.view().Index() {
		t.Errorf("event %v", e)
	}
	made := false
	for _, c := range e.GetChanges() {
		if c.GetType() == "vpc" && c.GetId() == vpc.GetVpcId() {
			made = c.GetBefore() == "" && len(c.GetAfter()) == 64
		}
	}
	if !made {
		t.Errorf("changes %v", e.GetChanges())
	}

	// What one event says is there after it, the next one says is there before.
	_, err := l.DeleteVpc(ctx, &ec2v1.DeleteVpcRequest{VpcId: vpc.VpcId})
	if err != nil {
		t.Fatal(err)
	}
	rest := l.events(&adminv1.ListAuditEventsRequest{After: e.GetId()})
	if len(rest) != 1 {
		t.Fatalf("%d events after %s", len(rest), e.GetId())
	}
	hashes := map[string]string{}
	for _, c := range e.GetChanges() {
		hashes[c.GetType()+c.GetId()] = c.GetAfter()
	}
	for _, c := range rest[0].GetChanges() {
		if c.GetAfter() != "" || c.GetBefore() != hashes[c.GetType()+c.GetId()] {
			t.Errorf("%s %s: from %q to %q", c.GetType(), c.GetId(), c.GetBefore(), c.GetAfter())
		}
	}

	// A refused write is none.
	if _, err := l.DeleteVpc(ctx, &ec2v1.DeleteVpcRequest{VpcId: vpc.VpcId}); err == nil {
		t.Error("deleted twice")
	}
	if more := l.events(&adminv1.ListAuditEventsRequest{After: rest[0].GetId()}); len(more) != 0 {
		t.Errorf("a refused write is in the audit: %v", more)
	}

	role := metadata.NewIncomingContext(context.Background(), metadata.Pairs(metaRole, "spiffe://postern/edge/e1"))
	ok(l.RegisterPlaces(role, &adminv1.RegisterPlacesRequest{Places: []*adminv1.PlaceRegistration{edgePlace("e1", "a")}}))
	all = l.events(&adminv1.ListAuditEventsRequest{After: rest[0].GetId()})
	if len(all) != 1 || all[0].GetPrincipal() != "spiffe://postern/edge/e1" || all[0].GetAccount() != "" {
		t.Errorf("an edge's write: %v", all)
	}
	if _, err := l.AddPeer(l.ctx(), &adminv1.AddPeerRequest{Id: "n9", Address: "127.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	if all = l.events(&adminv1.ListAuditEventsRequest{After: all[0].GetId()}); len(all) != 1 || len(all[0].GetChanges()) != 0 {
		t.Errorf("a change of the membership: %v", all)
	}
}

func TestListAuditEvents(t *testing.T) {
	for name, bad := range map[string]*adminv1.ListAuditEventsRequest{
		"cursor": {After: "5"},
		"limit":  {Limit: maxAuditPage + 1},
		"wait":   {WaitMs: -1},
		"long":   {WaitMs: maxAuditWait.Milliseconds() + 1},
	} {
		l := newAdminLab(t)
		if _, err := l.ListAuditEvents(l.ctx(), bad); err == nil {
			t.Errorf("%s: %v was accepted", name, bad)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		l := newAdminLab(t)
		set := func(speed float64) {
			ok(l.UpdateSettings(l.ctx(), &adminv1.UpdateSettingsRequest{Settings: &adminv1.Settings{DnsSpeed: &speed}}))
		}
		set(2)
		began := time.Now()
		page := ok(l.ListAuditEvents(l.ctx(), &adminv1.ListAuditEventsRequest{WaitMs: 5000}))
		if len(page.GetEvents()) != 1 || time.Since(began) != 0 {
			t.Fatalf("%d events after %v", len(page.GetEvents()), time.Since(began))
		}
		last := page.GetEvents()[0].GetId()
		if got := ok(l.ListAuditEvents(l.ctx(), &adminv1.ListAuditEventsRequest{After: last, WaitMs: 5000})); len(got.GetEvents()) != 0 || time.Since(began) != 5*time.Second {
			t.Errorf("%d events after %v", len(got.GetEvents()), time.Since(began))
		}
		go func() {
			time.Sleep(time.Second)
			set(3)
		}()
		began = time.Now()
		if got := ok(l.ListAuditEvents(l.ctx(), &adminv1.ListAuditEventsRequest{After: last, WaitMs: 5000})); len(got.GetEvents()) != 1 || time.Since(began) != time.Second {
			t.Errorf("%d events after %v", len(got.GetEvents()), time.Since(began))
		}
		for range 4 {
			set(4)
			time.Sleep(time.Minute)
		}
		if got := ok(l.ListAuditEvents(l.ctx(), &adminv1.ListAuditEventsRequest{Limit: 2, SinceUnixNano: began.Add(time.Second).UnixNano()})); len(got.GetEvents()) != 2 || !got.GetMore() {
			t.Errorf("%d events, more: %v", len(got.GetEvents()), got.GetMore())
		}
	})
}
