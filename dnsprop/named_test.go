package dnsprop

import (
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posternhq/postern/dnsprop/propagation"
	"github.com/posternhq/postern/dnsprop/resolver"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// newNamedLab is a lab with named resolvers, by the texts of the flag.
func newNamedLab(t *testing.T, profile string, texts ...string) *lab {
	t.Helper()
	l := newLab(t, profile)
	for _, text := range texts {
		r, err := ParseNamedResolver(text)
		if err != nil {
			t.Fatal(err)
		}
		l.resolvers = append(l.resolvers, r)
	}
	l.restart()
	return l
}

// placeVersion is the version of a place.
func (l *lab) placeVersion(id string) uint64 {
	l.t.Helper()
	for _, v := range l.srv.Versions() {
		if v.GetPlace() == id {
			return v.GetIndex()
		}
	}
	l.t.Fatalf("no place %s", id)
	return 0
}

var (
	corp   = vantage{"127.0.0.1:4758", "127.0.0.1"}
	office = vantage{"127.0.0.1:4759", "127.0.0.1"}
)

func TestNamedResolversKeepByTheirOwnOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newNamedLab(t, "aws", "corp:ttl-min=300,negative-ttl=5", "office", "public:ttl=20", "vpc:ttl-max=10", "far:listen=127.0.0.9:53")
		l.vpc(8, nil)
		c := l.set(aliasName, eni)
		l.expect(corp, aliasName, "NXDOMAIN 5")
		l.until(insync(t, c))
		l.expect(corp, aliasName, eni+" 300")
		l.expect(office, aliasName, eni+" 60")
		l.expect(internet, aliasName, eni+" 20")
		l.expect(inVPC(8, 1), aliasName, eni+" 10")
		l.expect(vantage{"127.0.0.9:53", "127.0.0.1"}, aliasName, eni+" 60")
		time.Sleep(3 * time.Second)
		l.expect(corp, aliasName, eni+" 297")
		l.expect(office, aliasName, eni+" 57")

		want := map[string]string{"corp": corp.server, "office": office.server, "far": "127.0.0.9:53"}
		if got := l.srv.NamedResolvers(); !maps.Equal(got, want) {
			t.Errorf("addresses %v, want %v", got, want)
		}
		listed := map[string]string{}
		for _, p := range l.srv.Places()[5:] {
			if p.GetKind() != "resolver" {
				t.Errorf("%s is a %s", p.GetId(), p.GetKind())
			}
			listed[strings.TrimPrefix(p.GetId(), "dns-1-")] = p.GetAddress()
		}
		if !maps.Equal(listed, want) {
			t.Errorf("places %v, want %v", listed, want)
		}
	})
}

// A named resolver's version is held back by its own cache alone.
func TestNamedResolversHaveTheirOwnVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newNamedLab(t, "aws", "corp", "office:negative-ttl-max=300")
		c := l.set(aliasName, eni)
		l.expect(office, aliasName, "NXDOMAIN 300")
		planted := l.now()
		l.until(insync(t, c).Add(-time.Nanosecond))
		places := []string{"dns-1-resolver", "dns-1-corp", "dns-1-office"}
		for _, id := range places {
			if version := l.placeVersion(id); version >= c.GetIndex() {
				t.Errorf("%s claims version %d, which no authority shows", id, version)
			}
		}
		time.Sleep(time.Nanosecond)
		l.expect(internet, aliasName, eni+" 60")
		l.expect(corp, aliasName, eni+" 60")
		for _, id := range places[:2] {
			if version := l.placeVersion(id); version != l.index {
				t.Errorf("%s is at version %d of %d", id, version, l.index)
			}
		}
		l.until(planted.Add(300*time.Second - time.Nanosecond))
		l.expect(office, aliasName, "NXDOMAIN 0")
		if version := l.placeVersion("dns-1-office"); version >= c.GetIndex() {
			t.Errorf("office claims version %d while it denies the name of %d", version, c.GetIndex())
		}
		time.Sleep(2 * minPause) // the server looks by itself
		l.srv.mu.Lock()
		office := l.srv.tracker.resolvers[2]
		l.srv.mu.Unlock()
		if office != l.index {
			t.Errorf("office is at version %d of %d after its negative answer has ended", office, l.index)
		}
	})
}

// What a named resolver in a VPC keeps of a user's private zone counts for its
// version, and what the VPC's own keeps for theirs; a public zone of the same name
// is another matter.
func TestPrivateZonesHoldVersionsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newNamedLab(t, "aws", "corp:vpc=vpc-8", "office")
		l.vpc(8, associated(private1))
		l.hosted("instant", public1, opening("www 60 A 192.0.2.1")...)
		l.hosted("instant", private1, opening("www 600 A 10.8.0.1")...)
		inCorp := vantage{corp.server, "127.8.1.9"}
		l.expect(office, "www.example.com.", "192.0.2.1 60")
		c := l.hosted("aws", private1, "www 60 A 10.8.0.2")
		l.until(insync(t, c).Add(-2 * time.Second))
		for a := range propagation.Authorities { // that which is last
			if at, _ := propagation.Instant(c.GetChange(), a); at.Equal(insync(t, c)) {
				l.pick = a
			}
		}
		l.expect(inCorp, "www.example.com.", "10.8.0.1 600")
		kept := l.now().Add(600 * time.Second)
		time.Sleep(time.Second)
		l.expect(inVPC(8, 2), "www.example.com.", "10.8.0.1 600")
		for _, step := range []struct {
			at                   time.Time
			public, corp, office bool // at the index
		}{
			{insync(t, c).Add(-1), false, false, false},
			{insync(t, c), false, false, true},
			{kept.Add(-1), false, false, true},
			{kept, false, true, true},
			{kept.Add(time.Second - 1), false, true, true},
			{kept.Add(time.Second), true, true, true},
		} {
			l.until(step.at)
			for id, want := range map[string]bool{"dns-1-resolver": step.public, "dns-1-corp": step.corp, "dns-1-office": step.office} {
				if version := l.placeVersion(id); (version >= c.GetIndex()) != want {
					t.Errorf("at %v %s is at version %d, the change at %d", l.now(), id, version, c.GetIndex())
				}
			}
			p := l.srv.Progress(&dnsv1.ProgressQuestion{Changes: []string{c.GetChange().GetId(), "none"}}).GetChanges()
			if len(p) != 2 || len(p[1].GetPlaces()) != 0 {
				t.Fatalf("%v", p)
			}
			for _, place := range p[0].GetPlaces() {
				done := place.GetState() == dnsv1.ProgressState_PROGRESS_STATE_DONE
				want, watched := map[string]bool{"dns-1-corp/us-west-2a": step.corp, "dns-1-vpc-8/us-west-2b": step.public}[place.GetPlace()]
				if watched && done != want {
					t.Errorf("at %v: %v", l.now(), place)
				}
				if place.GetPlace() == "dns-1-office" || place.GetPlace() == "dns-1-resolver" {
					t.Errorf("no private zone is seen through %v", place)
				}
				if stale := place.GetState() == dnsv1.ProgressState_PROGRESS_STATE_STALE; stale && !l.now().Before(kept) && place.GetUntil() != kept.Add(time.Second).UnixNano() {
					t.Errorf("%v, want until %v", place, kept.Add(time.Second))
				}
			}
		}
		l.expect(inVPC(8, 2), "www.example.com.", "10.8.0.2 60")
	})
}

func TestNamedResolverInAVPC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newNamedLab(t, "instant", "corp:vpc=vpc-8")
		l.set(apiName, "127.0.0.1")
		l.expect(corp, apiName, "REFUSED") // no such VPC yet
		l.vpc(8, privateDNS(eni))
		l.expect(corp, apiName, eni+" 0")
		l.expect(internet, apiName, "127.0.0.1 0")
		l.vpc(8, nil)
		l.expect(corp, apiName, "127.0.0.1 0")
		l.remove("vpc/vpc-8")
		l.expect(corp, apiName, "REFUSED")
	})
}

// Taking a laboratory's changes back empties every cache.
func TestNamedResolversForgetWhatIsReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newNamedLab(t, "fast", "corp:ttl-min=3600")
		c := l.set(aliasName, eni)
		l.until(insync(t, c))
		l.expect(corp, aliasName, eni+" 3600")
		l.remove("change/" + c.GetChange().GetId())
		l.expect(corp, aliasName, "NXDOMAIN 5")
	})
}

func TestParseNamedResolver(t *testing.T) {
	got, err := ParseNamedResolver("corp:ttl-min=300,listen=127.0.0.1:5353,prefetch,vpc=vpc-1")
	want := NamedResolver{
		Name: "corp", Listen: "127.0.0.1:5353", VPC: "vpc-1",
		Options: resolver.Options{TTL: resolver.Bounds{Min: 5 * time.Minute}, Prefetch: true},
	}
	if err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	if got, err := ParseNamedResolver("corp"); err != nil || got != (NamedResolver{Name: "corp"}) {
		t.Errorf("without options: %+v, %v", got, err)
	}
	for text, want := range map[string]string{
		"":                                  `resolver name ""`,
		":ttl=5":                            `resolver name ""`,
		"Corp":                              "want up to 32 small letters",
		"corp-":                             "want up to 32 small letters",
		strings.Repeat("c", 33):             "want up to 32 small letters",
		"resolver":                          "not resolver, ns1",
		"ns3":                               "not resolver, ns1",
		"corp:":                             `"corp": no options after the colon`,
		"corp:ttl=x":                        `"corp": resolver option "ttl=x"`,
		"corp:listen":                       "want one listen with a value",
		"corp:vpc=a,vpc=b":                  "want one vpc with a value",
		"corp:listen=localhost:53":          "listen=localhost:53 is not an IP address",
		"public:listen=127.0.0.1:53":        "neither listen nor vpc",
		"vpc:vpc=vpc-1":                     "neither listen nor vpc",
		"corp:listen=127.0.0.1:1,,prefetch": `resolver option ""`,
	} {
		if r, err := ParseNamedResolver(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v, want an error with %q", text, r, err, want)
		}
	}
}

func TestConfigRefusesResolvers(t *testing.T) {
	many := make([]NamedResolver, maxNamed+1)
	for want, cfg := range map[string]Config{
		`resolver "a" is given twice`:    {Resolvers: []NamedResolver{{Name: "a"}, {Name: "a"}}},
		`resolver name "A"`:              {Resolvers: []NamedResolver{{Name: "A"}}},
		"65 resolvers have a name":       {Resolvers: many},
		"no ports after the authorities": {Authorities: [4]string{3: "127.0.0.1:65535"}, Resolvers: []NamedResolver{{Name: "a"}}},
		"has no port number":             {Authorities: [4]string{3: "127.0.0.1:dns"}, Resolvers: []NamedResolver{{Name: "a"}}},
	} {
		cfg.ID, cfg.Network = "dns-1", newMemNet()
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
}

// FuzzNamedResolver: what is accepted can be started.
func FuzzNamedResolver(f *testing.F) {
	f.Add("corp:ttl-min=300,listen=127.0.0.1:5353,prefetch,vpc=vpc-1")
	f.Add("public:serve-stale=1d")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseNamedResolver(text)
		if err != nil {
			return
		}
		if _, err := New(Config{ID: "dns-1", Network: newMemNet(), Resolvers: []NamedResolver{r}}); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}

// What a profile says of resolvers goes for the default ones that have no
// options of their own, from the next answer on.
func TestProfileSaysWhatResolversKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newNamedLab(t, "instant", "corp", "public:negative-ttl=3")
		l.profile, l.custom = "office", &statev1.DnsProfile{PositiveTtl: 60, NegativeTtl: 7, Resolver: "ttl-min=300,negative-ttl=5"}
		l.settings()
		l.vpc(8, nil)
		nobody := "nobody." + apiZone
		for at, want := range map[vantage]string{inVPC(8, 1): "5", internet: "3", corp: "7", ns(1): "7"} {
			l.expect(at, nobody, "NXDOMAIN "+want)
		}
		l.set(aliasName, eni)
		l.expect(inVPC(8, 1), aliasName, eni+" 300")
		l.custom = &statev1.DnsProfile{PositiveTtl: 60, NegativeTtl: 7}
		l.settings()
		l.vpc(9, nil)
		l.expect(inVPC(8, 1), aliasName, eni+" 300") // it is there
		l.expect(inVPC(8, 2), aliasName, eni+" 60")
		l.expect(inVPC(9, 1), aliasName, eni+" 60")
		rejected := l.srv.Install(t.Context(), Update{Index: l.index + 1, Changed: []Resource{
			resource("settings", &dnsv1.Settings{Profile: "office", CustomProfile: &statev1.DnsProfile{Resolver: "ttl-mni=5"}}),
		}})
		if len(rejected) != 1 || !strings.Contains(rejected[0].Reason, "ttl-mni=5") {
			t.Errorf("rejections %v", rejected)
		}
	})
}

// Options given to a Server go before a profile's, too.
func TestConfigGoesBeforeTheProfile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLabWith(t, "instant", resolver.Options{NegativeTTL: resolver.Bounds{Max: 4 * time.Second}})
		l.profile = "office"
		l.custom = &statev1.DnsProfile{PositiveTtl: 60, NegativeTtl: 7, Resolver: "negative-ttl=5"}
		l.settings()
		l.vpc(8, nil)
		l.expect(internet, "nobody."+apiZone, "NXDOMAIN 4")
		l.expect(inVPC(8, 1), "nobody."+apiZone, "NXDOMAIN 4")
	})
}
