package profilefile

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/posternhq/postern/dnsprop/propagation"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

var measured = fstest.MapFS{
	"sync.txt":  {Data: []byte("# seconds\n2.5\n\n0.5\n 1.5\n")},
	"empty.txt": {Data: []byte("# nothing\n")},
	"word.txt":  {Data: []byte("1\nsoon\n")},
	"nan.txt":   {Data: []byte("NaN\n")},
	"minus.txt": {Data: []byte("-1\n")},
	"long.txt":  {Data: []byte("1\n" + strings.Repeat("1", 300) + "\n")},
	"many.txt":  {Data: []byte(strings.Repeat("1\n", maxMeasured+1))},
	"big.txt":   {Data: []byte("1\n" + strings.Repeat("#"+strings.Repeat(" ", 200)+"\n", maxMeasuredBytes/200))},
	"year.txt":  {Data: []byte("31536000\n")},
}

const all = `# what our resolvers were seen to do
name: office
enqueue: {lognormal: {median: 20s, sigma: 0.6}}
sync:
  empirical: sync.txt
pending:
  uniform:
    from: 1m
    to: 3m
lost: 0.05
positive-ttl: 60s
negative-ttl: 5m
reorder: true
lag: 1500ms
resolver: ttl-min=90,serve-stale=1d
`

func TestParse(t *testing.T) {
	name, got, err := Parse([]byte(all), measured)
	if err != nil {
		t.Fatal(err)
	}
	ms := int64(time.Millisecond)
	want := &statev1.DnsProfile{
		Enqueue:  &statev1.DelayDistribution{Kind: "lognormal", Values: []int64{20_000 * ms}, Sigma: 0.6},
		Sync:     &statev1.DelayDistribution{Kind: "empirical", Values: []int64{500 * ms, 1500 * ms, 2500 * ms}},
		Endpoint: &statev1.DelayDistribution{Kind: "uniform", Values: []int64{60_000 * ms, 180_000 * ms}},
		Lost:     0.05, PositiveTtl: 60, NegativeTtl: 300, Reorder: true, Lag: 1500 * ms, Resolver: "ttl-min=90,serve-stale=1d",
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || name != "office" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
	if name, got, err := Parse([]byte("name: still"), nil); err != nil || name != "still" || !proto.Equal(got, &statev1.DnsProfile{}) {
		t.Errorf("a name alone: %q, %v, %v", name, got, err)
	}
}

// The page's profile is one.
func TestDocument(t *testing.T) {
	page, err := os.ReadFile("../../docs/dns.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	text, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("no profile in docs/dns.md")
	}
	name, content, err := Parse([]byte(text), measured)
	if err != nil || name != "office" || content.GetLost() != 0.01 || content.GetEndpoint() == nil {
		t.Errorf("%q, %v, %v", name, content, err)
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "1:1: want one document"},
		{"no name", "lost: 0.5", "1:1: the profile has no name"},
		{"a list", "- name: a", "1:1: want keys"},
		{"two documents", "name: a\n---\nname: b", "1:1: want one document"},
		{"syntax", "name: a\nsync: {fixed: 1s", "2:"},
		{"unknown key", "name: a\nttl: 5s", `2:6: no such key: "ttl"`},
		{"twice", "name: a\nlost: 0.1\nlost: 0.2", "3:1: "},
		{"a built-in name", "name: aws", `1:7: dns profile "aws" is built in`},
		{"an odd name", "name: My Office", "1:7: dns profile"},
		{"an empty name", `name: ""`, "1:7: dns profile"},
		{"a number for a name", "name: 5", "1:7: want text"},
		{"probability", "name: a\nlost: 1", "2:7: dns profile \"a\": lost"},
		{"resolver options", "name: a\nresolver: ttl-min=x", `2:11: resolver option "ttl-min=x": want seconds`},
		{"no resolver options", "name: a\nresolver: {ttl-min: 5}", "2:11: want text"},
		{"not a number", "name: a\nlost: .nan", "2:7: want a number"},
		{"text for a number", "name: a\nlost: often", "2:7: want a number"},
		{"text for true", "name: a\nreorder: maybe", "2:10: want true or false"},
		{"bare seconds", "name: a\nlag: 5", "2:6: want a duration"},
		{"microseconds", "name: a\nlag: 5us", "2:6: want a duration in whole milliseconds"},
		{"negative", "name: a\nlag: -5s", "2:6: dns profile"},
		{"a split second of TTL", "name: a\npositive-ttl: 500ms", "2:15: want a duration in whole seconds"},
		{"a long TTL", "name: a\nnegative-ttl: 200h", "2:15: dns profile"},
		{"no distribution", "name: a\nsync: 5s", "2:7: want keys"},
		{"an empty one", "name: a\nsync: {}", "2:7: want a distribution"},
		{"null", "name: a\nsync:", "2:"},
		{"two of them", "name: a\nsync: {fixed: 1s, uniform: {from: 1s, to: 2s}}", "2:28: a stage has one"},
		{"an unknown one", "name: a\nsync: {normal: 1s}", `2:16: distribution "normal"`},
		{"a missing bound", "name: a\nsync: {uniform: {from: 1s}}", "2:"},
		{"an unknown bound", "name: a\nsync: {uniform: {from: 1s, until: 2s}}", `2:35: no such key: "until"`},
		{"bounds the wrong way", "name: a\nsync: {uniform: {from: 2s, to: 1s}}", "values fall"},
		{"sigma", "name: a\nsync: {lognormal: {median: 1s, sigma: 9}}", "sigma 9"},
		{"a tail without end", "name: a\nsync: {lognormal: {median: 100h, sigma: 3}}", "delays reach"},
		{"a long delay", "name: a\nsync: {fixed: 1000h}", "is not from 0"},
		{"an alias", "name: &n a\nsync: *n", "1:"},
		{"no such file", "name: a\nsync: {empirical: none.txt}", "2:19: open none.txt"},
		{"a file elsewhere", "name: a\nsync: {empirical: ../sync.txt}", "2:19: open ../sync.txt"},
		{"an empty file", "name: a\nsync: {empirical: empty.txt}", "2:19: empty.txt: no delays"},
		{"a word in it", "name: a\nsync: {empirical: word.txt}", "2:19: word.txt:2:1: "},
		{"not a number in it", "name: a\nsync: {empirical: nan.txt}", "nan.txt:1:1: "},
		{"a negative in it", "name: a\nsync: {empirical: minus.txt}", "minus.txt:1:1: "},
		{"a long line in it", "name: a\nsync: {empirical: long.txt}", "long.txt:2:1: "},
		{"too many in it", "name: a\nsync: {empirical: many.txt}", "more than 100000 delays"},
		{"a big one", "name: a\nsync: {empirical: big.txt}", "more than 4194304 bytes"},
		{"a year in it", "name: a\nsync: {empirical: year.txt}", "is not from 0"},
		{"a long text", "name: a\n" + strings.Repeat("#\n", maxBytes), "1:1: the profile has"},
	} {
		_, _, err := Parse([]byte(c.text), measured)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
			continue
		}
		var line, column int
		if _, scan := fmt.Sscanf(err.Error(), "%d:%d:", &line, &column); scan != nil || line < 1 || column < 1 {
			t.Errorf("%s: no position in %q", c.name, err)
		}
	}
}

// What Parse accepts has a schedule, within its limits.
func FuzzParse(f *testing.F) {
	f.Add(all)
	f.Add("name: a\nsync: {fixed: 1s}\n")
	f.Add("name: &a b\n<<: *a\n")
	f.Add("? [a]\n: {b: c}\n")
	f.Fuzz(func(t *testing.T, text string) {
		name, content, err := Parse([]byte(text), measured)
		if err != nil {
			return
		}
		p, err := propagation.Resolve(name, content)
		if err != nil {
			t.Fatalf("accepted, yet %v", err)
		}
		for a := range propagation.Authorities {
			if d := p.Delay(1, "C", 0, a); d < 0 || d > p.MaxDelay() {
				t.Fatalf("delay %v outside 0..%v", d, p.MaxDelay())
			}
		}
	})
}

func FuzzMeasured(f *testing.F) {
	f.Add("1\n2.5\n# three\n")
	f.Add("1e300\n")
	f.Fuzz(func(t *testing.T, text string) {
		p := profile{files: fstest.MapFS{"m": {Data: []byte(text)}}}
		e, err := p.measured("m")
		if err != nil {
			return
		}
		if len(e) < 2 || len(e) > propagation.Steps+1 || !slices.IsSorted(e) || e[0] < 0 {
			t.Fatalf("quantiles %v", e)
		}
	})
}
