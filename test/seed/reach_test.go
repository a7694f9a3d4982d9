package seed_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigateway/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"
)

// Who reaches a private API, from where and by which transport.

func TestS01_ReachableOnlyFromAVPC(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vpc("a")
	w.endpointIn(v)
	a := w.privateAPI(onlyVPC(v.id))
	w.settle()
	w.served("from the VPC", w.call(v.id, a.url()), a)
	w.resolves(internet, a.host())
	w.unresolved("from the internet", w.call(internet, a.url()))
	w.forbidden("forged Host at the public address", w.do(request{
		from: internet, url: "https://127.0.0.1/test", header: map[string]string{"Host": a.host()}, sni: a.host(),
	}))
}

func TestS02_EndpointIsAnInterfaceInTheVPC(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vpc("a", "b")
	e := w.endpointIn(v)
	out := must[*ec2.DescribeNetworkInterfacesOutput](w, "describe interfaces")(w.ec2.DescribeNetworkInterfaces(w.ctx, &ec2.DescribeNetworkInterfacesInput{
		Filters: []ec2types.Filter{
			{Name: aws.String("vpc-id"), Values: []string{v.id}},
			{Name: aws.String("interface-type"), Values: []string{"vpc_endpoint"}},
		},
	}))
	equal(w, "interfaces of the VPC", len(out.NetworkInterfaces), 2)
	for i, subnet := range v.subnets {
		found := 0
		for _, eni := range out.NetworkInterfaces {
			if aws.ToString(eni.SubnetId) != subnet {
				continue
			}
			found++
			equal(w, "requester-managed", aws.ToBool(eni.RequesterManaged), true)
			equal(w, "description", aws.ToString(eni.Description), "VPC Endpoint Interface "+e.id)
			if ip := aws.ToString(eni.PrivateIpAddress); !contains(v.blocks[i], ip) {
				t.Errorf("address %s is not in the subnet's %s", ip, v.blocks[i])
			}
		}
		equal(w, "interfaces in "+subnet, found, 1)
	}
}

func TestS03_PolicySelectsVPCs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in, out := w.vpc("a"), w.vpc("a")
	w.endpointIn(in)
	w.endpointIn(out)
	a := w.privateAPI(onlyVPC(in.id))
	w.settle()
	w.served("from the VPC that the policy names", w.call(in.id, a.url()), a)
	w.denied("from another", w.call(out.id, a.url()))
}

func TestS04_PolicySelectsEndpoints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vpc("a")
	named, other := w.endpointIn(v), w.endpointIn(v, privateDNSOff)
	a := w.privateAPI(onlyEndpoints(named.id))
	w.settle()
	w.served("by the endpoint that the policy names", w.call(v.id, endpointURL(named.host()), "x-apigw-api-id", a.id), a)
	w.denied("by another of the same VPC", w.call(v.id, endpointURL(other.host()), "x-apigw-api-id", a.id))
}

func TestS05_AcrossAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	theirs := w.lab.world(t, "222222222222", region)
	v := theirs.vpc("a")
	e := theirs.endpointIn(v)
	named, unnamed := w.privateAPI(onlyEndpoints(e.id)), w.privateAPI(onlyEndpoints("vpce-0123456789abcdef0"))
	w.settle()
	owner := must[*ec2.DescribeVpcsOutput](theirs, "describe VPC")(theirs.ec2.DescribeVpcs(w.ctx, &ec2.DescribeVpcsInput{VpcIds: []string{v.id}})).Vpcs[0].OwnerId
	equal(w, "owner of the endpoint's VPC", aws.ToString(owner), "222222222222")
	_, err := w.ec2.DescribeVpcs(w.ctx, &ec2.DescribeVpcsInput{VpcIds: []string{v.id}})
	w.refused("the API's account describing it", err, "InvalidVpcID.NotFound", v.id)
	w.served("an API of account 1111 that names the endpoint of 2222", theirs.call(v.id, named.url()), named)
	w.denied("one that does not", theirs.call(v.id, unnamed.url()))
}

func TestS06_ManyAPIsByOneEndpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vpc("a")
	e := w.endpointIn(v)
	first, second := w.privateAPI(onlyEndpoints(e.id)), w.privateAPI(onlyEndpoints(e.id))
	w.settle()
	for _, a := range []restAPI{first, second} {
		w.served("by private DNS", w.call(v.id, a.url()), a)
		w.served("by the endpoint's name", w.call(v.id, endpointURL(e.host()), "x-apigw-api-id", a.id), a)
	}
}

func TestS27_OneEndpointHundredAPIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vpc("a")
	e := w.endpointIn(v)
	const n = 100
	apis := make([]restAPI, n)
	var making errgroup.Group
	making.SetLimit(16) // writers that queue up share a log entry
	for i := range apis {
		making.Go(func() error {
			apis[i] = w.createAPI(types.EndpointTypePrivate, onlyEndpoints(e.id))
			if err := w.tryEcho(apis[i]); err != nil {
				return err
			}
			return w.tryDeploy(apis[i], "test")
		})
	}
	if err := making.Wait(); err != nil {
		t.Fatalf("make %d APIs: %v", n, err)
	}
	w.settle()
	var calling errgroup.Group
	calling.SetLimit(8)
	for _, a := range apis {
		calling.Go(func() error {
			if got := w.call(v.id, a.url()); got.Status != http.StatusOK || got.Body != a.body() {
				return fmt.Errorf("%s: %v, want 200 %s", a.id, got, a.body())
			}
			return nil
		})
	}
	if err := calling.Wait(); err != nil {
		t.Error(err)
	}
}

func TestS07_OnPremisesOverDirectConnect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vpc("a")
	// The group must let the office's network in, as on AWS.
	e := w.endpointIn(v, withGroups(w.group(v.id, "office", "192.168.0.0/16")))
	a := w.privateAPI(onlyEndpoints(e.id))
	w.settle()
	got := w.call(onPrem+"/"+v.id, endpointURL(e.host()), "x-apigw-api-id", a.id)
	w.served("with a route to the VPC", got, a)
	equal(w, "VPC by which the edge decided", got.Header.Get("seen-vpc"), v.id)
	w.timeout("without a route", onPrem, e.host(), e.host())
}

func TestS08_OnlyHTTPS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vpc("a")
	e := w.endpointIn(v)
	a := w.privateAPI(onlyEndpoints(e.id))
	w.settle()
	w.served("HTTPS", w.call(v.id, a.url()), a)
	if got := w.do(request{from: v.id, url: "http://" + a.host() + "/test", limit: silence}); got.Err == nil {
		t.Errorf("plain HTTP on port 80: %v, want no connection", got)
	}
	// Whoever speaks plain HTTP to the TLS port learns that it is one, no more.
	got := w.do(request{from: v.id, url: "http://" + a.host() + ":443/test"})
	if got.Err == nil && (got.Status != http.StatusBadRequest || strings.Contains(got.Body, a.id)) {
		t.Errorf("plain HTTP on port 443: %v, want no answer by the API", got)
	}
}

func TestS12_TLS12Only(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vpc("a")
	e := w.endpointIn(v)
	a := w.privateAPI(onlyEndpoints(e.id), e.id)
	w.settle()
	for _, host := range []string{a.host(), a.alias(e), e.host(), e.names[1]} {
		for _, c := range []struct {
			version uint16
			ok      bool
		}{{tls.VersionTLS10, false}, {tls.VersionTLS11, false}, {tls.VersionTLS12, true}, {tls.VersionTLS13, false}} {
			name := tls.VersionName(c.version)
			state, err := w.handshake(v.id, host, c.version, c.version)
			switch {
			case c.ok && err != nil:
				t.Errorf("%s at %s: %v", name, host, err)
			case c.ok && state.Version != c.version:
				t.Errorf("%s at %s: agreed on %s", name, host, tls.VersionName(state.Version))
			case !c.ok && (err == nil || !strings.Contains(err.Error(), "protocol version not supported")):
				t.Errorf("%s at %s: %v, want the alert protocol_version", name, host, err)
			}
		}
	}
	// One who offers more gets 1.2, and a certificate for the name.
	state, err := w.handshake(v.id, a.host(), tls.VersionTLS10, tls.VersionTLS13)
	if err != nil || state.Version != tls.VersionTLS12 {
		t.Errorf("1.0 to 1.3: %s, %v, want TLS 1.2", tls.VersionName(state.Version), err)
	}
}

// S10, S11 and S36 are one flow: the setting is switched on a living endpoint.
func TestS36_PrivateDNSChangesNamesOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in, out := w.vpc("a", "b"), w.vpc("a")
	e, other := w.endpointIn(in), w.endpointIn(out)
	a := w.privateAPI(onlyEndpoints(e.id), e.id)
	shut := w.privateAPI(onlyEndpoints(other.id), e.id)
	w.settle()

	// Forms 2 to 5 of private-apis.md §4 and the private name: who is let in by
	// one is let in by all.
	forms := func(a restAPI) map[string]request {
		byHost := map[string]string{"Host": a.host()}
		byID := map[string]string{"x-apigw-api-id": a.id}
		return map[string]request{
			"alias name":                    {from: in.id, url: a.aliasURL(e)},
			"endpoint name, Host":           {from: in.id, url: endpointURL(e.host()), header: byHost},
			"endpoint name, x-apigw-api-id": {from: in.id, url: endpointURL(e.host()), header: byID},
			"zonal name a, Host":            {from: in.id, url: endpointURL(e.names[1]), header: byHost},
			"zonal name b, x-apigw-api-id":  {from: in.id, url: endpointURL(e.names[2]), header: byID},
		}
	}
	check := func(t *testing.T, privateDNS bool) {
		w := w.lab.world(t, ownAccount, region)
		for _, a := range []restAPI{a, shut} {
			all := forms(a)
			if privateDNS {
				all["private name"] = request{from: in.id, url: a.url()}
			}
			for name, r := range all {
				if got := w.do(r); a == shut {
					w.denied(name, got)
				} else {
					w.served(name, got, a)
				}
			}
		}
	}
	toggle := func(v bool) {
		if _, err := w.ec2.ModifyVpcEndpoint(w.ctx, &ec2.ModifyVpcEndpointInput{VpcEndpointId: &e.id, PrivateDnsEnabled: &v}); err != nil {
			t.Fatalf("switch private DNS: %v", err)
		}
		w.settle()
	}
	t.Run("S10", func(t *testing.T) {
		check(t, true)
	})
	t.Run("S11", func(t *testing.T) {
		toggle(false)
		w.resolves(in.id, a.host())
		w.unresolved("private name without private DNS", w.call(in.id, a.url()))
		check(t, false)
	})
	t.Run("S36", func(t *testing.T) {
		toggle(true)
		w.resolves(in.id, a.host(), w.addresses(e)...)
		check(t, true)
	})
}

func TestS37_PrivateDNSHidesPublicAPIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	with, without := w.vpc("a"), w.vpc("a")
	w.endpointIn(with)
	for _, kind := range []types.EndpointType{types.EndpointTypeRegional, types.EndpointTypeEdge} {
		a := w.publicAPI(kind)
		w.settle()
		w.forbidden(string(kind)+" API from a VPC with private DNS", w.call(with.id, a.url()))
		w.served(string(kind)+" API from a VPC without", w.call(without.id, a.url()), a)
		w.served(string(kind)+" API from the internet", w.call(internet, a.url()), a)
	}
}

// TestS09_NoListenerServesTheInternet finds out which TCP sockets this process
// listens on, which are those of the whole cluster, and tries every form of
// call at each from the public side.
func TestS09_NoListenerServesTheInternet(t *testing.T) {
	w := newWorld(t)
	v := w.vpc("a", "b")
	e := w.endpointIn(v)
	a := w.privateAPI(allowAll(), e.id) // the policy is no obstacle
	w.settle()
	w.served("from the VPC", w.call(v.id, a.url()), a)

	sockets, err := listeners()
	if err != nil {
		t.Skipf("listening sockets can't be listed on this system: %v", err)
	}
	public, private := 0, 0
	var probing errgroup.Group
	probing.SetLimit(64)
	for _, socket := range sockets {
		switch {
		case socket == w.lab.addr.Public:
			public++
		case strings.HasSuffix(socket, fmt.Sprintf(":%d", w.lab.addr.EdgePort)):
			private++
		}
		for _, p := range []request{
			{url: "https://" + socket + "/test", header: map[string]string{"Host": a.host()}, sni: a.host()},
			{url: "https://" + socket + "/test", header: map[string]string{"Host": a.alias(e)}, sni: a.alias(e)},
			{url: "https://" + socket + "/test", header: map[string]string{"x-apigw-api-id": a.id}, sni: e.host()},
			{url: "http://" + socket + "/test", header: map[string]string{"Host": a.host(), "x-apigw-api-id": a.id}},
		} {
			probing.Go(func() error {
				p.from, p.limit = internet, silence
				if got := w.do(p); got.Status == http.StatusOK || strings.Contains(got.Body, a.body()) {
					return fmt.Errorf("%s with %v at %s: %v", p.url, p.header, socket, got)
				}
				return nil
			})
		}
	}
	if err := probing.Wait(); err != nil {
		t.Error(err)
	}
	if public == 0 || private < 2 {
		t.Errorf("found %d public and %d endpoint listeners of the edges among %d sockets: the audit is blind", public, private, len(sockets))
	}
	// And what answers at the public address says no by the book.
	w.forbidden("public listener", w.do(request{from: internet, url: "https://127.0.0.1/test", header: map[string]string{"Host": a.host()}, sni: a.host()}))
}
