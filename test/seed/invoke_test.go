package seed_test

import (
	"crypto/tls"
	"slices"
	"testing"
)

// The forms of calls.

// TestS18_TestTheAPI calls by every form of the seed: S62, S63 and S64.
func TestS18_TestTheAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vpc("a", "b")
	e := w.endpointIn(v)
	a := w.privateAPI(onlyEndpoints(e.id))
	w.settle()
	t.Run("S62", func(t *testing.T) {
		w := w.lab.world(t, ownAccount, region)
		w.resolves(v.id, a.host(), w.addresses(e)...)
		w.served("private DNS", w.call(v.id, "https://"+a.id+".execute-api."+region+".amazonaws.com/test"), a)
	})
	t.Run("S63", func(t *testing.T) {
		w := w.lab.world(t, ownAccount, region)
		for _, name := range e.names {
			w.served(name, w.call(v.id, endpointURL(name), "Host", a.host()), a)
		}
		w.forbidden("without the Host", w.call(v.id, endpointURL(e.host())))
	})
	t.Run("S64", func(t *testing.T) {
		w := w.lab.world(t, ownAccount, region)
		for _, name := range e.names {
			w.served(name, w.call(v.id, endpointURL(name), "x-apigw-api-id", a.id), a)
		}
	})
}

// TestS56_AliasNeedsNoHeader is S56 and S57: the base URL of an association.
func TestS56_AliasNeedsNoHeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vpc("a")
	e := w.endpointIn(v, privateDNSOff) // so that only the association can have made the name
	a := w.privateAPI(onlyEndpoints(e.id), e.id)
	w.settle()
	host := a.id + "-" + e.id + ".execute-api." + region + ".amazonaws.com"
	t.Run("S56", func(t *testing.T) {
		w := w.lab.world(t, ownAccount, region)
		w.served("no extra header", w.call(v.id, "https://"+host+"/test"), a)
	})
	t.Run("S57", func(t *testing.T) {
		w := w.lab.world(t, ownAccount, region)
		if c := w.mustChange(host); !slices.Contains(c.GetNames(), host+".") {
			t.Errorf("published names are %v, want %s", c.GetNames(), host)
		}
		w.resolves(internet, host, w.addresses(e)...)
		state, err := w.handshake(v.id, host, tls.VersionTLS12, tls.VersionTLS12) // verifies
		if err != nil {
			t.Fatalf("handshake: %v", err)
		}
		if err := state.PeerCertificates[0].VerifyHostname(host); err != nil {
			t.Errorf("certificate: %v", err)
		}
	})
}
