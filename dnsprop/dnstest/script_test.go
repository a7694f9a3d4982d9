package dnstest

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write what the scripts' checks find into the scripts")

// TestScripts plays testdata/*.txt.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !*rewrite {
				Run(t, string(text))
				return
			}
			p, err := play(string(text))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(p.rewritten(string(text))), 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A check that finds something else is told with its line; so is what cannot be done.
func TestScriptsFail(t *testing.T) {
	p, err := play("lab zone=example.com\n\nask ns1 a.example.com. A = 60 A 10.0.0.1\nask ns1 a.example.com. A = NXDOMAIN 900\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(p.failures); got != "[{3 ask ns1 a.example.com. A NXDOMAIN 900 60 A 10.0.0.1}]" {
		t.Errorf("failures %s", got)
	}
	for _, c := range []struct{ script, want string }{
		{"", "script is empty"},
		{"# nothing\n", "script is empty"},
		{"ask public x. A = NODATA 0", "line 1: a script begins with lab"},
		{"lab speed=2", `line 1: option "speed"`},
		{"lab seed=x", `line 1: seed "x"`},
		{"lab profile=slow", `dns profile "slow"`},
		{"lab\n+ a. A 10.0.0.1", "line 2: a record is not below a commit"},
		{"lab\nlab", `line 2: no statement is called "lab"`},
		{"lab\nask public x. A", "line 2: ask: an equals sign"},
		{"lab\nclear = yes", "line 2: clear: an equals sign"},
		{"lab\n = yes", `line 2: no statement is called "="`},
		{"lab\nafter", "line 2: after has 0 words"},
		{"lab\nafter -5s", `line 2: "-5s" is not a duration`},
		{"lab\nafter 5s\nat 4s", "line 3: 4s is past: it is 5s"},
		{"lab\nat 4s 5s", "line 2: an instant has + or -"},
		{"lab\nat 4s * 5s", `line 2: "*" is neither`},
		{"lab\nat a.insync", "line 2: "},
		{"lab zone=a.test\ncommit c\n+ a.test. A 10.0.0.1\nat c.ns9", `line 4: "ns9" is not one of first`},
		{"lab zone=a.test\nfault dns-lost\ncommit c\n+ a.test. A 10.0.0.1\nat c.insync", "line 5: c.insync never comes"},
		{"lab zone=a.test\ncommit c", "line 2: change has no records"},
		{"lab zone=a.test\ncommit c private\n+ a.test. A 10.0.0.1", "line 2: a.test. is in no private zone"},
		{"lab zone=a.test\ncommit c profile=slow\n+ a.test. A 10.0.0.1", "line 2: dns profile"},
		{"lab zone=a.test\ncommit c.d\n+ a.test. A 10.0.0.1", `line 2: "c.d" cannot name`},
		{"lab\nresend c", `line 2: no change is called "c"`},
		{"lab\nprivate a.test. v", `line 2: no vpc is called "v"`},
		{"lab\nendpoint v 10.0.0.1", `line 2: no vpc is called "v"`},
		{"lab\nfault dns-lag lag=x", `line 2: "x" is not a duration`},
		{"lab\nfault dns-lag lag=1s lag=2s", "line 2: lag is given twice"},
		{"lab\nfault dns-lag size=2", `line 2: "size=2": want one of name=`},
		{"lab\nprefer ns9", "line 2: "},
		{"lab\nask ns9 a. A = x", "line 2: place"},
		{strings.Repeat("#", maxScript+1), "script has 65537 bytes"},
		{"lab\n" + strings.Repeat("clear\n", maxStatements+1), "line 2002: script has more than 2000 statements"},
	} {
		if _, err := play(c.script); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%.80q: %v, want %s", c.script, err, c.want)
		}
	}
}

// FuzzScript plays any text: it ends, what it finds is found again, and then
// nothing is wrong with the script.
func FuzzScript(f *testing.F) {
	// Short ones: the long ones take their time to be made smaller.
	for _, script := range []string{
		"lab zone=a.\ncommit c\n+ a. 9 A 10.0.0.1\nask ns1 a. A = x\nat c.ns2 - 1s\nask authorities a. A = x\nvisible public c = no",
		"lab profile=fast seed=2 resolver=r:ttl=5\nzone a.\n$ORIGIN a.\ncommit c profile=instant\n+ @ MX 1 b\n- d A\nsettle\nask r b TXT = x",
		"lab zone=a.\nvpc v a b\nprivate a. v\nendpoint v 10.0.0.1\ncommit c private\n+ *.a. ALIAS A b.a.\nask v/b x.a. A =\nafter 5m",
		"lab zone=a.\nfault dns-lost name=a. for=5s\ncommit c\n+ a. A 1.1.1.1\n+ a. A 1.1.1.2\narrives c =\nresend c\nrestart\narrives c =",
		"lab profile=hostile\nfault dns-lag place=ns2 lag=1m\nfault dns-down zone=a.\nclear\nprefer ns2\nprofile aws",
	} {
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script string) {
		if len(script) > 1000 {
			return // it would take its time
		}
		p, err := play(script)
		if err != nil {
			return
		}
		again, err := play(p.rewritten(script))
		if err != nil || len(again.failures) > 0 {
			t.Errorf("played again: %v, %v", again.failures, err)
		}
	})
}
