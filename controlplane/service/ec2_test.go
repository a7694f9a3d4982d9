package service

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
)

// headerStream is a transport that keeps the header metadata of one answer.
type headerStream struct {
	grpc.ServerTransportStream
	header metadata.MD
}

func (*headerStream) Method() string { return "/postern.ec2.v1.EC2/CreateVpc" }

func (h *headerStream) SetHeader(md metadata.MD) error {
	h.header = metadata.Join(h.header, md)
	return nil
}

// However often an action commits, its answer has one version.
func TestOneVersion(t *testing.T) {
	l := newEC2Lab(t)
	var vpc string
	for _, c := range []struct {
		name string
		call func(context.Context) error
	}{
		{"the first read", func(ctx context.Context) error {
			_, err := l.DescribeVpcs(ctx, &ec2v1.DescribeVpcsRequest{})
			return err
		}},
		{"the first write of another account", func(ctx context.Context) error {
			ctx = metadata.NewIncomingContext(ctx, metadata.Pairs(metaAccount, "222222222222"))
			answer, err := l.CreateVpc(ctx, &ec2v1.CreateVpcRequest{CidrBlock: new("10.1.0.0/16")})
			vpc = answer.GetVpc().GetVpcId()
			return err
		}},
		{"a batch", func(ctx context.Context) error {
			ctx = metadata.NewIncomingContext(ctx, metadata.Pairs(metaAccount, "222222222222"))
			var ids []string
			for range 3 {
				req := endpointRequest(vpc)
				req.PrivateDnsEnabled = new(false)
				made, err := l.CreateVpcEndpoint(quiet(ctx), req)
				if err != nil {
					return err
				}
				ids = append(ids, made.GetVpcEndpoint().GetVpcEndpointId())
			}
			_, err := l.DeleteVpcEndpoints(ctx, &ec2v1.DeleteVpcEndpointsRequest{VpcEndpointIds: ids})
			return err
		}},
		{"a batch of nothing", func(ctx context.Context) error {
			_, err := l.DeleteVpcEndpoints(ctx, &ec2v1.DeleteVpcEndpointsRequest{VpcEndpointIds: []string{"vpce-00000000"}})
			return err
		}},
	} {
		stream := &headerStream{}
		if err := c.call(grpc.NewContextWithServerTransportStream(t.Context(), stream)); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		want := []string{strconv.FormatUint(l.view().Index(), 10)}
		if got := stream.header.Get(metaVersion); !slices.Equal(got, want) {
			t.Errorf("%s: versions %v, want %v", c.name, got, want)
		}
	}
}

// FuzzWildcard compares the matcher with a regular expression that says the same.
func FuzzWildcard(f *testing.F) {
	for _, seed := range [][2]string{{"a*b?c", "axxbyc"}, {`\*`, "*"}, {`a\`, `a\`}, {"**", ""}, {"*é?", "xéy"}, {`\\x`, `\x`}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		var expr strings.Builder
		p := []rune(pattern)
		for i := 0; i < len(p); i++ {
			switch {
			case p[i] == '*':
				expr.WriteString(`[\s\S]*`)
			case p[i] == '?':
				expr.WriteString(`[\s\S]`)
			case p[i] == '\\' && i+1 < len(p):
				i++
				expr.WriteString(regexp.QuoteMeta(string(p[i])))
			default:
				expr.WriteString(regexp.QuoteMeta(string(p[i])))
			}
		}
		want, err := regexp.MatchString(`^(?:`+expr.String()+`)\z`, string([]rune(text)))
		if err != nil {
			t.Skip()
		}
		if got := wildcard(pattern, text); got != want {
			t.Errorf("wildcard(%q, %q) = %v, the expression %s says %v", pattern, text, got, expr.String(), want)
		}
	})
}

// FuzzRanges reads ranges and page tokens as clients send them: nothing they
// contain may panic, and a range that is accepted is in its normal form.
func FuzzRanges(f *testing.F) {
	for _, seed := range []string{"10.0.0.0/16", "10.0.0.1/24", "::/0", "1.2.3.4", "10.0.0.0/33", "::ffff:10.0.0.0/120", "fe80::1%eth0", "YWZ0ZXI6eA"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := parseCIDR(text, "InvalidVpc.Range"); err == nil && (p != p.Masked() || !p.Addr().Is4()) {
			t.Errorf("range %q is kept as %v", text, p)
		}
		for _, v6 := range []bool{false, true} {
			if kept, err := ruleCIDR(text, v6); err == nil {
				if again, err := ruleCIDR(kept, v6); err != nil || again != kept {
					t.Errorf("source %q is kept as %q, which reads as %q (%v)", text, kept, again, err)
				}
			}
		}
		if p, err := pageOf(nil, &text, "", nil); err == nil {
			things := []string{"b", "a", "c"}
			cut(p, things, func(s string) string { return s })
		}
	})
}
