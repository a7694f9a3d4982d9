package dnsprop

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/posternhq/postern/dnsprop/propagation"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// counted are the metrics of the caches, each place's in a line.
func (l *lab) counted() map[string]string {
	l.t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(census{l.srv})
	families, err := reg.Gather()
	if err != nil {
		l.t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if n := m.GetGauge().GetValue() + m.GetCounter().GetValue(); n > 0 {
				place := m.GetLabel()[0].GetValue()
				out[place] = strings.TrimSpace(fmt.Sprintf("%s %s=%v", out[place], m.GetLabel()[1].GetValue(), n))
			}
		}
	}
	return out
}

func TestCacheMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newNamedLab(t, "aws", "corp:serve-stale=1h")
		l.vpc(8, nil)
		corp := vantage{"127.0.0.1:4758", "127.0.0.1"}
		expect := func(when string, want map[string]string) {
			t.Helper()
			got := l.counted()
			for _, place := range []string{"dns-1-resolver", "dns-1-corp", "dns-1-vpc-8/us-west-2a", "dns-1-vpc-8/us-west-2b"} {
				if got[place] != want[place] {
					t.Errorf("%s, %s: %q, want %q", when, place, got[place], want[place])
				}
			}
		}
		expect("at first", nil)
		c := l.set(aliasName, "10.7.1.10")
		l.expect(inVPC(8, 2), aliasName, "NXDOMAIN 900")
		l.expect(inVPC(8, 2), aliasName, "NXDOMAIN 900")
		l.ask(inVPC(8, 2), "elsewhere.test.", dns.TypeA)
		expect("planted", map[string]string{"dns-1-vpc-8/us-west-2b": "negative=1 hit=1 miss=1"})
		l.until(insync(t, c))
		l.expect(corp, aliasName, "10.7.1.10 60")
		l.expect(internet, aliasName, "10.7.1.10 60")
		expect("positive", map[string]string{"dns-1-vpc-8/us-west-2b": "negative=1 hit=1 miss=1", "dns-1-corp": "positive=1 miss=1", "dns-1-resolver": "positive=1 miss=1"})
		l.fault(&statev1.DnsFault{Kind: propagation.FaultDown})
		time.Sleep(time.Minute)
		l.expect(corp, aliasName, "10.7.1.10 30")
		l.expect(internet, aliasName, "SERVFAIL")
		l.expect(internet, aliasName, "SERVFAIL")
		expect("failing", map[string]string{
			"dns-1-vpc-8/us-west-2b": "negative=1 hit=1 miss=1",
			"dns-1-corp":             "failure=1 stale=1 miss=1 stale=1",
			"dns-1-resolver":         "failure=1 failure=1 miss=2",
		})
		for rcode, want := range map[string]float64{"NOERROR": 1, "SERVFAIL": 2, "REFUSED": 0} {
			if got := testutil.ToFloat64(l.srv.metrics.resolverAnswers.WithLabelValues("dns-1-resolver", rcode)); got != want {
				t.Errorf("%v answers %s of the public resolver, want %v", got, rcode, want)
			}
		}
		before := testutil.CollectAndCount(l.srv.metrics.resolverAnswers)
		l.remove("vpc/vpc-8")
		if after := testutil.CollectAndCount(l.srv.metrics.resolverAnswers); after >= before {
			t.Errorf("the metrics of a VPC outlive it: %d, were %d", after, before)
		}
	})
}
