package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"strings"

	"github.com/posternhq/postern/dnsprop/client"
	"github.com/posternhq/postern/internal/netx"
	"github.com/posternhq/postern/internal/vpcclient"
)

type vpcCmd struct {
	Exec vpcExecCmd `cmd:"" help:"Run a program as a client inside a VPC, on-premises or on the internet."`
}

type vpcExecCmd struct {
	clientFlags
	VPC           string   `arg:"" help:"A VPC id, \"onprem\" or \"internet\"."`
	Command       []string `arg:"" passthrough:"" help:"The program and its arguments, after --."`
	Subnet        string   `help:"Subnet to sit in; the VPC's first by default." placeholder:"ID"`
	SecurityGroup []string `name:"security-group" help:"Security groups of the client; the VPC's default by default." placeholder:"ID"`
	Route         []string `help:"onprem: VPCs that it has a route to." placeholder:"VPC"`
	Netns         bool     `name:"netns" help:"Linux, as root: give the program a network namespace instead of proxy variables; DNS and port 443 of the VPC are there as on AWS."`
	ClientCache   string   `name:"client-cache" help:"What the client itself keeps of DNS answers: none, glibc, nscd, systemd-resolved, windows, jvm, browser… or two durations as in 30s/10s; jvm under the profiles aws and hostile, else none, by default." placeholder:"CACHE"`
	EdgePort      uint16   `name:"edge-port" default:"8443" help:"Port that the edges listen on."`
	DNSPort       uint16   `name:"dns-port" default:"4753" help:"Port that the resolvers listen on."`
	Account       string   `default:"123456789012" help:"Account that an on-premises client belongs to."`
	Region        string   `default:"us-west-2" help:"Region that an on-premises client belongs to."`
}

// Help is shown by `postern vpc exec --help`.
func (vpcExecCmd) Help() string {
	return `Names resolve through the VPC's resolver, connections leave from an address of the subnet, and the cluster's CA is
trusted. No root is needed: the program is given proxy variables (HTTPS_PROXY, ALL_PROXY) and CA variables (SSL_CERT_FILE,
CURL_CA_BUNDLE, AWS_CA_BUNDLE, NODE_EXTRA_CA_CERTS, REQUESTS_CA_BUNDLE) for a listener of this command.

With --client-cache the client believes an answer, also that there is no such name, for as long as such a program does, on the
DNS clock; the cache lives as long as this command. Those with a name:

` + cacheHelp() + `

Examples:
  postern vpc exec vpc-0123456789abcdef0 -- curl https://API.execute-api.us-west-2.amazonaws.com/test/pets
  postern vpc exec --client-cache jvm vpc-0123456789abcdef0 -- sh -c 'while sleep 1; do curl -sS https://…; done'
  postern vpc exec internet -- curl https://API.execute-api.us-west-2.amazonaws.com/test/pets
  sudo postern vpc exec --netns vpc-0123456789abcdef0 -- curl https://API.execute-api.us-west-2.amazonaws.com/test/pets
  postern vpc exec onprem --route vpc-0123456789abcdef0 -- curl -H 'x-apigw-api-id: API' https://VPCE-NAME/test/pets`
}

// cacheHelp is a line for each client cache that has a name.
func cacheHelp() string {
	var lines []string
	for _, preset := range client.Presets() {
		lines = append(lines, fmt.Sprintf("  %-20s  %s", preset.Name, preset.Help))
	}
	return strings.Join(lines, "\n")
}

func (c *vpcExecCmd) Run(ctx context.Context, g *globals) error {
	command := c.Command
	if len(command) > 0 && command[0] == "--" {
		command = command[1:]
	}
	if len(command) == 0 {
		return usageError{errors.New("vpc exec: a program must follow --")}
	}
	admin, closeConn, err := c.admin()
	if err != nil {
		return err
	}
	defer closeConn()
	cache, err := clientCache(ctx, admin, c.ClientCache)
	if err != nil {
		return err
	}
	ctx = callerContext(ctx, c.Account, c.Region)
	// Made, and awaited at the edges, before the program starts: its first
	// connection must find its security groups known.
	placer := &vpcclient.Placer{Admin: admin, DNSPort: c.DNSPort}
	where := vpcclient.Where{VPC: c.VPC, Subnet: c.Subnet, SecurityGroups: c.SecurityGroup, Routes: c.Route}
	if _, err := placer.Place(ctx, where); err != nil {
		return err
	}
	ca, err := c.caFile(ctx)
	if err != nil {
		return err
	}
	defer os.Remove(ca)

	proxy, err := vpcclient.New(vpcclient.Config{
		Network: netx.Host(), Addr: "127.0.0.1:0", Resolve: placer.Place, Default: where.String(), Cache: cache, EdgePort: c.EdgePort, Logger: g.logger(slog.LevelWarn),
	})
	if err != nil {
		return err
	}
	address, err := proxy.Listen(ctx)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- proxy.Run(ctx) }()

	run := exec.CommandContext(ctx, command[0], command[1:]...)
	run.Stdin, run.Stdout, run.Stderr = os.Stdin, g.stdout, g.stderr
	run.Env = append(withoutProxies(os.Environ()), caVariables(ca)...)
	if c.Netns {
		err = inNamespace(ctx, proxy, where, run)
	} else {
		run.Env = append(run.Env, proxyVariables(address)...)
		err = run.Run()
	}
	stop()
	if proxyErr := <-ended; proxyErr != nil && err == nil {
		return proxyErr
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exitCode(exit.ExitCode()) // the program's own
	}
	if err != nil {
		return fmt.Errorf("run %s: %w", command[0], err)
	}
	return nil
}

// caFile writes the cluster's CA certificate where the program can read it.
func (c *vpcExecCmd) caFile(ctx context.Context) (string, error) {
	pem, err := fetchCA(ctx, c.API)
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp("", "postern-ca-*.pem")
	if err != nil {
		return "", fmt.Errorf("write CA certificate: %w", err)
	}
	if _, err := f.Write(pem); err != nil {
		return "", fmt.Errorf("write CA certificate: %w", err)
	}
	return f.Name(), f.Close()
}

// inNamespace runs the program in a network namespace of its own.
func inNamespace(ctx context.Context, proxy *vpcclient.Proxy, where vpcclient.Where, run *exec.Cmd) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	finished := make(chan error, 1)
	err := proxy.Inside(ctx, where, func() error {
		if err := run.Start(); err != nil {
			return err
		}
		go func() {
			finished <- run.Wait()
			stop()
		}()
		return nil
	})
	if err != nil {
		return err
	}
	return <-finished
}

func proxyVariables(address string) []string {
	http := (&url.URL{Scheme: "http", Host: address}).String()
	socks := (&url.URL{Scheme: "socks5h", Host: address}).String()
	return []string{"HTTPS_PROXY=" + http, "https_proxy=" + http, "ALL_PROXY=" + socks, "all_proxy=" + socks, "NO_PROXY=", "no_proxy="}
}

// caVariables make curl, the AWS CLI and the common runtimes trust the cluster.
func caVariables(ca string) []string {
	var vars []string
	for _, name := range []string{"SSL_CERT_FILE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"} {
		vars = append(vars, name+"="+ca)
	}
	return vars
}

// withoutProxies drops the proxies of this machine: the client sits elsewhere.
func withoutProxies(env []string) []string {
	var out []string
	for _, v := range env {
		name, _, _ := strings.Cut(v, "=")
		switch strings.ToLower(name) {
		case "http_proxy", "https_proxy", "all_proxy", "no_proxy":
		default:
			out = append(out, v)
		}
	}
	return out
}
