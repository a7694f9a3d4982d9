package procs_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"

	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	"github.com/posternhq/postern/test/optional"
	"github.com/posternhq/postern/test/procs"
	"github.com/posternhq/postern/test/tenant"
)

// TestVPCExec runs curl as a client in the VPC and outside of it, by the proxy
// and in a network namespace: the same URL, AWS's own, in all four.
func TestVPCExec(t *testing.T) {
	optional.Tool(t, "curl")
	c := start(t, procs.Config{Nodes: 1, Edges: 2})
	ctx := within(t, patience)
	api, err := tenant.New(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	vpc := defaultVPC(t, ctx, c.Nodes[0])
	if r, err := c.Command(ctx, "wait", "--latest", "--timeout", "30s"); err != nil || r.Exit != 0 {
		t.Fatalf("wait: %v %+v", err, r)
	}
	_, dnsPort, err := net.SplitHostPort(c.DNS.DNS)
	if err != nil {
		t.Fatal(err)
	}
	curl := func(where string, flags ...string) (stdout, stderr string, exit int) {
		args := append([]string{"vpc", "exec", "--edge-port", strconv.Itoa(c.Edges[0].Port), "--dns-port", dnsPort}, flags...)
		args = append(args, where, "--", "curl", "-sS", "--max-time", "20", "-o", os.DevNull, "-w", "%{http_code}", "https://"+api.Name+"/test/")
		run := exec.CommandContext(ctx, binary, args...)
		run.Env = append(os.Environ(), "POSTERN_API=http://"+c.Nodes[0].API)
		var out, errs bytes.Buffer
		run.Stdout, run.Stderr = &out, &errs
		_ = run.Run() // its exit code says it
		return out.String(), errs.String(), run.ProcessState.ExitCode()
	}
	for name, flags := range map[string][]string{"proxy": nil, "namespace": {"--netns"}} {
		t.Run(name, func(t *testing.T) {
			if len(flags) > 0 && (runtime.GOOS != "linux" || os.Geteuid() != 0) {
				optional.Missing(t, "network namespaces need root on Linux")
			}
			if out, errs, exit := curl(vpc, flags...); exit != 0 || out != "200" {
				t.Errorf("in the VPC: exit %d, %q, %q", exit, out, errs)
			}
			if out, errs, exit := curl("internet", flags...); exit == 0 || out != "000" {
				t.Errorf("on the internet: exit %d, %q, %q, want no answer", exit, out, errs)
			}
		})
	}
}

func defaultVPC(t *testing.T, ctx context.Context, node *procs.Process) string {
	t.Helper()
	conn, err := node.Conn()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	vpcs, err := ec2v1.NewEC2Client(conn).DescribeVpcs(ctx, &ec2v1.DescribeVpcsRequest{})
	if err != nil || len(vpcs.GetVpcs()) != 1 {
		t.Fatalf("VPCs %v, %v, want the default one", vpcs, err)
	}
	return vpcs.GetVpcs()[0].GetVpcId()
}
