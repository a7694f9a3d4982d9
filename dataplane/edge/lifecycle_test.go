package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posternhq/postern/dataplane/compile"
	"github.com/posternhq/postern/dataplane/vpce"
	"github.com/posternhq/postern/internal/netx"
	"github.com/posternhq/postern/internal/pki"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
)

// Guarantee 6: nothing is served before the first snapshot.
func TestNothingBeforeTheFirstTable(t *testing.T) {
	e, _, _ := newEdge(t, nil)
	if e.Ready() == nil {
		t.Error("ready without a snapshot")
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest("GET", "https://"+publicHost+"/prod/pets", nil))
	if w.Code != 403 || w.Body.String() != bodyForbidden {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

// A canary takes its share of a stage's requests, with its own routes.
func TestCanary(t *testing.T) {
	w := newWorld()
	canary := newWorld().stages[0]
	canary.Routes = canary.Routes[:0]
	for _, r := range newWorld().stages[0].Routes {
		if r.Path == "/pets" && r.HttpMethod == "GET" {
			r.Method = mock(299)
			canary.Routes = append(canary.Routes, r)
		}
	}
	r := start(t, w, nil)
	for percent, want := range map[float64][]int{0: {200}, 100: {299}, 50: {200, 299}} {
		w.stages[0].Canary = &edgev1.Canary{PercentTraffic: percent, Stage: canary}
		r.install(w)
		seen := map[int]bool{}
		client := r.client(clientA, eniA)
		for range 40 {
			res, err := client.Get("https://" + privateHost + "/prod/pets")
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			seen[res.StatusCode] = true
		}
		if len(seen) != len(want) || !seen[want[0]] {
			t.Errorf("%v percent: got %v, want %v", percent, seen, want)
		}
	}
}

// An API without any stage, in a region where there is nothing else, still has a
// certificate to say so with.
func TestRegionOfAnAPIWithoutStage(t *testing.T) {
	w := newWorld()
	r := start(t, w, nil)
	w.apis = append(w.apis, &edgev1.Api{Id: "ireland001", Account: account, Region: "eu-west-1", EndpointType: "REGIONAL"})
	r.install(w)
	c := privateCall()
	c.from, c.to, c.host = "127.0.0.1", "127.0.0.1", "ireland001.execute-api.eu-west-1.amazonaws.com"
	eventually(t, func() bool { // its handshake may come before the request for a signature
		res, err := r.do(c)
		return err == nil && res.status == 403 && res.body == bodyForbidden
	})
}

// An edge that was removed from the cluster has no table any more.
func TestWithoutTableAgain(t *testing.T) {
	w := newWorld()
	r := start(t, w, nil)
	client := r.client(clientA, eniA)
	get := func() int {
		res, err := client.Get("https://" + privateHost + "/prod/pets")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body)
		return res.StatusCode
	}
	if s := get(); s != 200 {
		t.Fatalf("got %d", s)
	}
	r.Install(nil)
	if s := get(); s != 403 {
		t.Errorf("got %d", s)
	}
	if r.Ready() == nil {
		t.Error("ready without a table")
	}
	c := privateCall()
	c.from, c.to, c.host = "127.0.0.1", "127.0.0.1", publicHost
	if res := r.must(c); res.status != 403 {
		t.Errorf("public side: got %d", res.status)
	}
}

// A network interface that can't be bound holds back no other, and is bound as
// soon as it can be.
func TestInterfaceThatCantBeBound(t *testing.T) {
	needLoopback(t)
	var taken net.Listener
	w := newWorld()
	r := start(t, w, func(c *Config) {
		var err error
		if taken, err = net.Listen("tcp", fmt.Sprintf("%s:%d", eniA, c.Port)); err != nil {
			t.Fatal(err)
		}
	})
	c := privateCall()
	c.from, c.to = clientB, eniB
	if res := r.must(c); res.status != 200 {
		t.Errorf("another interface: got %d", res.status)
	}
	taken.Close()
	eventually(t, func() bool {
		res, err := r.do(privateCall())
		return err == nil && res.status == 200
	})
}

// A request that did not come through a listener has no arrival, and no way in.
func TestNoArrivalNoAnswer(t *testing.T) {
	e, _, _ := newEdge(t, nil)
	table, _ := compile.Config{Integration: e.Prepare}.Compile(nil, newWorld().update(t, 1))
	e.Install(table)
	for _, host := range []string{publicHost, privateHost} {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequest("GET", "https://"+host+"/prod/pets", nil))
		if w.Code != 403 {
			t.Errorf("%s: got %d", host, w.Code)
		}
	}
	e.listeners.drain()
}

func TestListenersFollowTheTable(t *testing.T) {
	w := newWorld()
	r := start(t, w, func(c *Config) { c.AZs = []string{region + "a"} })
	dials := func(addr string) bool {
		conn, err := netx.Host().Dial(t.Context(), "tcp", fmt.Sprintf("%s:%d", addr, r.port), netx.From(netip.MustParseAddr(clientA)))
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
	w.vpces[0].Enis = append(w.vpces[0].Enis,
		&edgev1.Eni{Id: "eni-new", Az: region + "a", Address: "10.61.1.10", BindAddress: "127.61.1.10"},
		&edgev1.Eni{Id: "eni-else", Az: region + "b", Address: "10.61.2.10", BindAddress: "127.61.2.10"})
	r.install(w)
	// Install returns when the address accepts: an edge acknowledges after it.
	if !dials("127.61.1.10") {
		t.Error("a new interface is not bound when Install returns")
	}
	if dials("127.61.2.10") {
		t.Error("an interface of another zone is bound")
	}
	c := privateCall()
	c.to = "127.61.1.10"
	if res := r.must(c); res.status != 200 {
		t.Errorf("new interface: got %d", res.status)
	}
	w.vpces[0].Enis = w.vpces[0].Enis[:1]
	r.install(w)
	eventually(t, func() bool { return !dials("127.61.1.10") })
	if !dials(eniA) {
		t.Error("an interface that stayed is gone")
	}
}

// A connection that outlives its endpoint is good for nothing.
func TestConnectionOfADeletedEndpoint(t *testing.T) {
	w := newWorld()
	r := start(t, w, nil)
	client := r.client(clientA, eniA)
	get := func() int {
		res, err := client.Get("https://" + privateHost + "/prod/pets")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body) // else the connection is not used again
		return res.StatusCode
	}
	if s := get(); s != 200 {
		t.Fatalf("got %d", s)
	}
	w.vpces = w.vpces[1:]
	r.install(w)
	if s := get(); s != 403 {
		t.Errorf("after its endpoint was deleted the connection gets %d", s)
	}
}

// client keeps its connections.
func (r *running) client(from, to string) *http.Client {
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: r.pool, ServerName: privateHost},
		MaxIdleConnsPerHost: 64,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return netx.Host().Dial(ctx, "tcp", fmt.Sprintf("%s:%d", to, r.port), netx.From(netip.MustParseAddr(from)))
		},
	}
	r.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// Guarantee 4: each request is decided by one version, whatever is installed
// meanwhile, and the answer names it. Guarantee 3: versions don't go back.
func TestSwapUnderLoad(t *testing.T) {
	w := newWorld()
	r := start(t, w, nil)
	denied := newWorld()
	denied.stages[0].Policy = ""
	var stop atomic.Bool
	var load sync.WaitGroup
	for range 4 {
		client := r.client(clientA, eniA)
		load.Go(func() {
			last := 0
			for !stop.Load() {
				res, err := client.Get("https://" + privateHost + "/prod/pets")
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				version := 0
				_, _ = fmt.Sscan(res.Header.Get("x-postern-version"), &version)
				if want := map[int]int{1: 200, 0: 403}[version%2]; res.StatusCode != want {
					t.Errorf("version %d answered %d", version, res.StatusCode)
				}
				if version < last {
					t.Errorf("version went back from %d to %d", last, version)
				}
				last = version
			}
		})
	}
	for range 50 {
		r.install(denied)
		r.install(w)
	}
	stop.Store(true)
	load.Wait()
}

// An edge that stops answers what is under way and what is waiting; the other
// edge of the same address goes on.
func TestDrain(t *testing.T) {
	w := newWorld()
	first := start(t, w, nil)
	port := first.port
	second, _, _ := newEdge(t, func(c *Config) { c.Port, c.PublicAddr = port, fmt.Sprintf("127.0.0.1:%d", port) })
	table, _ := compile.Config{Integration: second.Prepare}.Compile(nil, w.update(t, 1))
	second.Install(table)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- second.Run(ctx) }()
	eventually(t, func() bool { return second.Ready() == nil })
	var stop atomic.Bool
	var load sync.WaitGroup
	var failed, done atomic.Int64
	const clients = 4
	for range clients {
		load.Go(func() {
			for !stop.Load() {
				raw, err := netx.Host().Dial(t.Context(), "tcp", fmt.Sprintf("%s:%d", eniA, port), netx.From(netip.MustParseAddr(clientA)))
				if err != nil {
					failed.Add(1)
					continue
				}
				conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, ServerName: privateHost})
				conn.SetDeadline(time.Now().Add(5 * time.Second))
				if err := conn.Handshake(); err != nil {
					failed.Add(1)
				}
				conn.Close()
				done.Add(1)
			}
		})
	}
	eventually(t, func() bool { return done.Load() > 50 })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	before := done.Load()
	eventually(t, func() bool { return done.Load() > before+50 })
	stop.Store(true)
	load.Wait()
	// A connection may fall between the last accept and the close, of each client one.
	if n := failed.Load(); n > clients {
		t.Errorf("%d of %d connections failed while an edge stopped", n, done.Load())
	}
}

// Regions beyond what a certificate holds must not cost the others theirs.
func TestKeeperOfTooManyRegions(t *testing.T) {
	ca, err := pki.LoadOrCreateCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	k, err := NewKeeper(KeeperConfig{
		Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler),
		Sign: func(_ context.Context, csr []byte) ([][]byte, error) { return ca.SignServing(csr, nil) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 * maxRegions {
		k.Cover(fmt.Sprintf("made-up-%d", i))
	}
	if err := k.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !k.complete() || k.cert.Leaf.VerifyHostname("a.execute-api."+DefaultRegion+".amazonaws.com") != nil {
		t.Error("the default region is not covered")
	}
}

func TestKeeper(t *testing.T) {
	ca, err := pki.LoadOrCreateCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var signed atomic.Int64
	var away atomic.Bool
	cfg := KeeperConfig{
		Dir: dir, Regions: []string{"us-west-2"}, Logger: slog.New(slog.DiscardHandler),
		Sign: func(_ context.Context, csr []byte) ([][]byte, error) {
			if away.Load() {
				return nil, errors.New("control plane is away")
			}
			signed.Add(1)
			return ca.SignServing(csr, nil)
		},
	}
	run := func() (*Keeper, func()) {
		k, err := NewKeeper(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- k.Run(ctx) }()
		return k, func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	covers := func(k *Keeper, host string) error {
		cert, err := k.forName(t.Context(), host)
		if err != nil {
			return err
		}
		return cert.Leaf.VerifyHostname(host)
	}
	const west, ireland = "a.execute-api.us-west-2.amazonaws.com", "vpce-1.execute-api.eu-west-1.vpce.amazonaws.com"
	k, stop := run()
	if err := covers(k, west); err != nil {
		t.Error(err)
	}
	k.Cover("eu-west-1")
	if err := covers(k, ireland); err != nil { // the handshake waits for it
		t.Error(err)
	}
	n := signed.Load()
	k.Cover("eu-west-1")
	if err := covers(k, ireland); err != nil || signed.Load() != n {
		t.Errorf("a known region was signed again, or %v", err)
	}
	stop()

	// Guarantee 7: after a restart without a control plane the edge serves.
	away.Store(true)
	k, stop = run()
	defer stop()
	if err := k.Ready(); err != nil {
		t.Error(err)
	}
	if err := errors.Join(covers(k, west), covers(k, ireland)); err != nil {
		t.Error(err)
	}
}

// The decision, from host name to policies, allocates nothing.
func TestDecideDoesNotAllocate(t *testing.T) {
	w := newWorld()
	w.stages[0].Policy = `{"Version":"2012-10-17","Statement":[` +
		`{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"` + arn(privateAPI) + `/prod/*"},` +
		`{"Effect":"Deny","Principal":"*","Action":"execute-api:Invoke","Resource":"*","Condition":{"StringNotEquals":{"aws:SourceVpce":"` + vpceA + `"}}},` +
		`{"Effect":"Deny","Principal":"*","Action":"execute-api:Invoke","Resource":"*","Condition":{"NotIpAddress":{"aws:VpcSourceIp":"10.61.0.0/16"}}}]}`
	w.vpces[0].Policy = allowAll
	e, q, r := decision(t, w)
	if n := testing.AllocsPerRun(200, func() {
		in, a := q.in, q.arrival
		q.reset()
		q.in, q.arrival = in, a
		if v := e.decide(q, r); v != allowed {
			t.Fatalf("%s", reasons[v])
		}
	}); n != 0 {
		t.Errorf("decide allocates %v times", n)
	}
}

// decision is an edge with a request to decide.
func decision(t testing.TB, w *world) (*Edge, *request, *http.Request) {
	e := bare(t)
	table, rejected := compile.Config{Integration: e.Prepare}.Compile(nil, w.update(t, 1))
	if len(rejected) > 0 {
		t.Fatal(rejected)
	}
	e.Install(table)
	r := httptest.NewRequest("GET", "https://"+privateHost+"/prod/pets/7", nil)
	r.Header.Set("User-Agent", "curl/8")
	q := &request{in: e.now.Load(), arrival: &vpce.Arrival{
		Endpoint: vpceA, VPC: vpcA, Source: netip.MustParseAddr("10.61.0.50"), Interface: netip.MustParseAddr("10.61.0.10"),
	}}
	return e, q, r
}

func BenchmarkDecide(b *testing.B) {
	e, q, r := decision(b, newWorld())
	in, a := q.in, q.arrival
	b.ReportAllocs()
	for b.Loop() {
		q.reset()
		q.in, q.arrival = in, a
		if v := e.decide(q, r); v != allowed {
			b.Fatal(reasons[v])
		}
	}
}
