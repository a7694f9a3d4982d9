package service

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

func TestCaller(t *testing.T) {
	c := caller(context.Background())
	if c.Account != "123456789012" || c.Region != "us-west-2" || c.ARN != "arn:aws:iam::123456789012:root" {
		t.Errorf("default caller %+v", c)
	}
	c = caller(as(context.Background(), "111122223333", "eu-west-1"))
	if c.Account != "111122223333" || c.Region != "eu-west-1" || c.UserID != "111122223333" {
		t.Errorf("caller %+v", c)
	}
}

// counter is a root record that writers add to.
func counter(v *state.View) (*statev1.Record, int) {
	r := v.Get(state.Key{Type: statev1.Type_TYPE_REST_API, Account: "a", Region: "r", ID: "counter"})
	n, _ := strconv.Atoi(r.GetRestApi().GetName())
	return r, n
}

func addOne(v *state.View) *statev1.Txn {
	r, n := counter(v)
	key := state.Key{Type: statev1.Type_TYPE_REST_API, Account: "a", Region: "r", ID: "counter"}
	g := absent(key)
	if r != nil {
		g = guard(r)
	}
	return &statev1.Txn{
		Guards: []*statev1.Guard{g},
		Puts:   []*statev1.Record{restAPIRecord(key, &apigatewayv1.RestApi{Name: new(strconv.Itoa(n + 1))})},
	}
}

// Writers of one root queue: none is refused, and each builds on the one before it.
func TestUpdateQueuesWritersOfOneRoot(t *testing.T) {
	c := newFakeCluster()
	var proposals atomic.Int64
	c.before = func() { proposals.Add(1) }
	cfg := Config{Cluster: c}.withDefaults()
	const writers = 50
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			if _, err := update(context.Background(), cfg, func(v *state.View) (*statev1.Txn, error) { return addOne(v), nil }); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if _, n := counter(c.store.View()); n != writers {
		t.Errorf("counted %d of %d writes", n, writers)
	}
	if n := proposals.Load(); n != writers {
		t.Errorf("%d proposals for %d writes: some collided", n, writers)
	}
	if len(cfg.roots.queues) != 0 {
		t.Errorf("%d queues left", len(cfg.roots.queues))
	}
}

func TestUpdateRetriesRefusedGuards(t *testing.T) {
	for _, c := range []struct {
		name   string
		rivals int // writes of another node that get in between
		err    string
	}{
		{"one rival", 1, ""},
		{"as many as it takes", maxAttempts - 1, ""},
		{"one more", maxAttempts, "Unable to complete operation due to concurrent modification. Please try again later."},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testRivals(t, c.rivals, c.err) })
		})
	}
}

func testRivals(t *testing.T, rivals int, refusal string) {
	cluster := newFakeCluster()
	left := rivals
	cluster.before = func() {
		if left > 0 {
			left--
			cluster.index++
			cluster.store.Apply(cluster.index, []*statev1.Txn{addOne(cluster.store.View())})
		}
	}
	cfg := Config{Cluster: cluster}.withDefaults()
	ctx, headers := withHeaders(context.Background())
	index, err := update(ctx, cfg, func(v *state.View) (*statev1.Txn, error) { return addOne(v), nil })
	_, n := counter(cluster.store.View())
	if refusal != "" {
		wantError(t, err, apierr.KindConflict, refusal)
		if n != rivals {
			t.Errorf("counted %d", n)
		}
		return
	}
	if err != nil || n != rivals+1 {
		t.Fatalf("counted %d, error %v", n, err)
	}
	if want := cluster.store.View().Index(); index != want || headers.Get(metaVersion)[0] != fmt.Sprint(want) {
		t.Errorf("index %d, header %v, want %d", index, headers.Get(metaVersion), want)
	}
}

func TestUpdateWithoutChange(t *testing.T) {
	c := newFakeCluster()
	c.before = func() { t.Error("proposed") }
	cfg := Config{Cluster: c}.withDefaults()
	if index, err := update(context.Background(), cfg, func(*state.View) (*statev1.Txn, error) { return nil, nil }); index != 0 || err != nil {
		t.Errorf("index %d, error %v", index, err)
	}
	wrong := errors.New("wrong")
	if _, err := update(context.Background(), cfg, func(*state.View) (*statev1.Txn, error) { return nil, wrong }); !errors.Is(err, wrong) {
		t.Errorf("error %v", err)
	}
}

func TestUpdateEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster()
		cfg := Config{Cluster: c}.withDefaults()
		leave, err := cfg.roots.enter(context.Background(), state.KeyOf(addOne(c.store.View()).Guards[0].Key))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := update(ctx, cfg, func(v *state.View) (*statev1.Txn, error) { return addOne(v), nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		leave()
		if len(cfg.roots.queues) != 0 {
			t.Error("queue left")
		}
	})
}

func TestView(t *testing.T) {
	c := newFakeCluster()
	c.put(t)
	cfg := Config{Cluster: c}.withDefaults()
	read := func(pairs ...string) (*state.View, error) {
		return view(metadata.NewIncomingContext(context.Background(), metadata.Pairs(pairs...)), cfg)
	}
	for _, pairs := range [][]string{nil, {metaConsistency, "stale"}, {metaMinIndex, "1"}, {metaConsistency, "stale", metaMinIndex, "1"}} {
		if v, err := read(pairs...); err != nil || v.Index() != 1 {
			t.Errorf("%v: index %v, error %v", pairs, v, err)
		}
	}
	_, err := read(metaMinIndex, "x")
	wantError(t, err, apierr.KindInvalid, "Invalid x-postern-min-index: x")

	// A View that isn't there yet is waited for.
	waited := make(chan uint64)
	go func() {
		v, err := read(metaConsistency, "stale", metaMinIndex, "2")
		if err != nil {
			t.Error(err)
		}
		waited <- v.Index()
	}()
	c.put(t)
	if index := <-waited; index != 2 {
		t.Errorf("index %d", index)
	}
}

func TestIDs(t *testing.T) {
	cfg := Config{}.withDefaults()
	for _, c := range []struct{ id, pattern string }{
		{cfg.alphanumeric(10), `^[a-z0-9]{10}$`},
		{cfg.ec2ID("vpce"), `^vpce-0[0-9a-f]{16}$`},
		{cfg.uuid(), `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`},
	} {
		if !regexp.MustCompile(c.pattern).MatchString(c.id) {
			t.Errorf("%q does not match %s", c.id, c.pattern)
		}
	}
}

func TestWarn(t *testing.T) {
	ctx, headers := withHeaders(context.Background())
	var many []string
	for i := range 15 {
		many = append(many, fmt.Sprintf("%d: a\nb \u00e9 %s", i, strings.Repeat("x", 400)))
	}
	warn(ctx, many...)
	got := headers.Get(metaWarning)
	if len(got) != maxWarnings+1 || got[maxWarnings] != "and 5 more" {
		t.Errorf("%d warnings, the last is %q", len(got), got[len(got)-1])
	}
	if !strings.HasPrefix(got[0], "0: a b ? xxx") || len(got[0]) != maxWarningLength || !strings.HasSuffix(got[0], "...") {
		t.Errorf("warning %q", got[0])
	}
}

func TestListPage(t *testing.T) {
	var list []string
	for i := range 60 {
		list = append(list, fmt.Sprintf("%03d", (i*7)%60))
	}
	self := func(s string) string { return s }
	for _, c := range []struct {
		limit int32
		sizes []int
	}{{0, []int{25, 25, 10}}, {-1, []int{25, 25, 10}}, {60, []int{60}}, {59, []int{59, 1}}, {1000, []int{60}}} {
		var position *string
		next := 0
		for _, size := range c.sizes {
			page, p, err := listPage(list, self, &c.limit, position)
			if err != nil || len(page) != size {
				t.Fatalf("limit %d: page of %d, error %v", c.limit, len(page), err)
			}
			for _, s := range page {
				if s != fmt.Sprintf("%03d", next) {
					t.Fatalf("limit %d: %s at %d", c.limit, s, next)
				}
				next++
			}
			position = p
		}
		if position != nil || next != 60 {
			t.Errorf("limit %d: %d elements, position %v", c.limit, next, position)
		}
	}
	_, _, err := listPage(list, self, nil, new("?"))
	wantError(t, err, apierr.KindInvalid, "Invalid position parameter specified")
	// A position stays good when its element is gone.
	_, position, _ := listPage(list, self, new(int32(10)), nil)
	page, _, err := listPage([]string{"000", "050", "001"}, self, nil, position)
	if err != nil || len(page) != 1 || page[0] != "050" {
		t.Errorf("page %v, error %v", page, err)
	}
}

// Clients of gRPC write the caller's metadata themselves.
func TestImpossibleCallersAreRefused(t *testing.T) {
	api, ec2 := NewAPIGateway(Config{Cluster: newFakeCluster()}), NewEC2(Config{Cluster: newFakeCluster()})
	for _, c := range []struct{ account, region string }{
		{"123456789012", "us west"}, {"123456789012", "a.b"}, {"123456789012", "US-WEST-2"}, {"123456789012", "a/b"},
		{"12345678901", "us-west-2"}, {"123456789012/us-west-2", "us-west-2"},
	} {
		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(metaAccount, c.account, metaRegion, c.region))
		if _, err := api.CreateRestApi(ctx, &apigatewayv1.CreateRestApiRequest{Name: new("x")}); err == nil {
			t.Errorf("%q in %q makes an API", c.account, c.region)
		}
		if _, err := api.GetRestApis(ctx, &apigatewayv1.GetRestApisRequest{}); err == nil {
			t.Errorf("%q in %q lists APIs", c.account, c.region)
		}
		if _, err := ec2.DescribeVpcs(ctx, &ec2v1.DescribeVpcsRequest{}); err == nil {
			t.Errorf("%q in %q lists VPCs", c.account, c.region)
		}
	}
}
