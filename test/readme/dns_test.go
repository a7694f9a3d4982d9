package readme

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/posternhq/postern/test/optional"
)

// TestFifteenMinutes runs the story of docs/dns.md under the profile that it is
// about: who asks too early is told NXDOMAIN until the negative TTL has passed,
// though the name servers have the name, and a new deployment does not help.
func TestFifteenMinutes(t *testing.T) {
	for _, tool := range []string{"bash", "aws", "dig"} {
		optional.Tool(t, tool)
	}
	printed := session(t, marked(t, "../../docs/dns.md", "sh story"), "--dns-profile", "aws")
	var said []string
	for _, line := range strings.Split(printed, "\n") {
		if who, status, ok := strings.Cut(line, ": status: "); ok {
			said = append(said, who+" "+status)
		}
	}
	want := []string{
		"resolver, too early NXDOMAIN",
		"name server NOERROR",
		"resolver, INSYNC NXDOMAIN",
		"resolver, deployed NXDOMAIN",
		"resolver, 14m59s NXDOMAIN",
		"resolver, 15m NOERROR",
	}
	if !slices.Equal(said, want) {
		t.Errorf("the story says\n%s\nin\n%s", strings.Join(said, "\n"), printed)
	}
	// The second look at the change finds it at all four name servers.
	if !strings.Contains(printed, "frozen") || !strings.Contains(printed, "visible  visible  visible  visible") {
		t.Errorf("the change is not seen to be under way and then everywhere:\n%s", printed)
	}
}

// TestDNSPage runs the simulations of docs/dns.md, compares what they print, and
// the chart that is committed with the one that they draw.
func TestDNSPage(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "docs"), 0o755); err != nil {
		t.Fatal(err)
	}
	ran, compared := page{name: "dns.md", says: true, dir: dir}.execute(t)
	if ran < 3 || compared < 3 {
		t.Errorf("only %d blocks were run and %d outputs compared", ran, compared)
	}
	const chart = "docs/dns-nxdomain.svg"
	drawn, err := os.ReadFile(filepath.Join(dir, chart))
	if err != nil {
		t.Fatal(err)
	}
	committed, err := os.ReadFile("../../" + chart)
	if err != nil || !bytes.Equal(drawn, committed) {
		t.Errorf("%s is not what its command draws: %v", chart, err)
	}
}
