package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/posternhq/postern/internal/dev"
)

// onCluster runs commands against a cluster of its own.
func onCluster(t *testing.T) func(args ...string) (stdout, stderr string, code int) {
	t.Helper()
	const free = "127.0.0.1:0"
	cluster, err := dev.New(dev.Config{
		Nodes: 1, Edges: 1, Data: t.TempDir(), API: free, GRPC: free, Admin: free, DNS: free, Proxy: free, DefaultProfile: "fast",
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- cluster.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-cluster.Ready():
	case err := <-ended:
		ended <- nil
		t.Fatalf("the cluster ended: %v", err)
	}
	return func(args ...string) (string, string, int) {
		var stdout, stderr bytes.Buffer
		code := run(ctx, append(args, "--api", "http://"+cluster.Addresses().API), &stdout, &stderr)
		return stdout.String(), stderr.String(), code
	}
}

func TestAdminFault(t *testing.T) {
	postern := onCluster(t)
	did := func(args ...string) string {
		t.Helper()
		stdout, stderr, code := postern(args...)
		if code != exitDid || stderr != "" {
			t.Fatalf("%v: exit %d, %s", args, code, stderr)
		}
		return stdout
	}
	if got := did("admin", "fault"); got != "no faults\n" {
		t.Errorf("at first: %s", got)
	}
	if got := did("admin", "fault", "set", "dns-lag", "--place", "ns3", "--lag", "5m", "--for", "10m"); got != "fault dns-lag@ns3 is in force\n" {
		t.Errorf("set: %s", got)
	}
	var set struct {
		Fault map[string]any
		Index uint64
	}
	if err := json.Unmarshal([]byte(did("admin", "fault", "set", "dns-lost", "--zone", "Execute-API.us-west-2.amazonaws.com", "-o", "json")), &set); err != nil {
		t.Fatal(err)
	}
	if set.Fault["id"] != "dns-lost:.execute-api.us-west-2.amazonaws.com." || set.Index == 0 || set.Fault["ends"] != nil {
		t.Errorf("set: %v", set)
	}
	text := did("admin", "fault", "list")
	for _, want := range []string{"FAULT ", "dns-lag@ns3 ", " 5m0s ", "dns-lost:.execute-api.us-west-2.amazonaws.com. ", "when cleared"} {
		if !strings.Contains(text, want) || !strings.Contains(did("status"), want) {
			t.Errorf("%q is not in the list or the status:\n%s", want, text)
		}
	}
	var status struct {
		DNS struct {
			Profile string
			Faults  []faultJSON
		}
	}
	if err := json.Unmarshal([]byte(did("status", "-o", "json")), &status); err != nil {
		t.Fatal(err)
	}
	if f := status.DNS.Faults; len(f) != 2 || f[0].ID != "dns-lag@ns3" || f[0].LagMs != 300_000 || f[0].Ends == "" || status.DNS.Profile != "fast" {
		t.Errorf("status: %+v", status)
	}
	if got := did("admin", "fault", "clear", "dns-lag@ns3"); got != "fault dns-lag@ns3 is over\n" {
		t.Errorf("clear: %s", got)
	}
	if _, stderr, code := postern("admin", "fault", "clear", "dns-lag@ns3"); code != exitCouldNot || !strings.Contains(stderr, "dns-lag@ns3") {
		t.Errorf("clear again: exit %d, %s", code, stderr)
	}
	did("admin", "fault", "clear", "--all")
	if got := did("admin", "fault", "list", "-o", "json"); got != "{\"faults\":[]}\n" && !strings.Contains(got, `"faults": []`) {
		t.Errorf("at last: %s", got)
	}
	if got := did("status"); strings.Contains(got, "FAULT") {
		t.Errorf("status at last:\n%s", got)
	}

	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"set", "dns-slow"}, exitCouldNot},
		{[]string{"set", "dns-lag"}, exitCouldNot},
		{[]string{"set", "dns-down", "--place", "ns9"}, exitCouldNot},
		{[]string{"set", "dns-down", "--name", "a", "--zone", "b"}, exitUsage},
		{[]string{"set", "dns-down", "--for", "-1s"}, exitUsage},
		{[]string{"set"}, exitUsage},
		{[]string{"clear"}, exitUsage},
		{[]string{"clear", "--all", "dns-down"}, exitUsage},
	} {
		if _, stderr, code := postern(append([]string{"admin", "fault"}, c.args...)...); code != c.code || stderr == "" {
			t.Errorf("%v: exit %d, want %d, %s", c.args, code, c.code, stderr)
		}
	}
}
