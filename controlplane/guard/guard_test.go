package guard

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/internal/sigv4"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	stsv1 "github.com/posternhq/postern/proto/postern/sts/v1"
)

const (
	account = "111122223333"
	userARN = "arn:aws:iam::111122223333:user/dev"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

type keys map[string]*Key

func (k keys) Key(_ context.Context, id string) (*Key, error) { return k[id], nil }

func newGuard(k ...*Key) *Guard {
	all := keys{}
	for _, key := range k {
		all[key.ID] = key
	}
	return New(all, func() time.Time { return now })
}

func userKey() *Key {
	return &Key{ID: "AKIDEV", Secret: "secret", Caller: &Caller{KeyID: "AKIDEV", Account: account, Principal: &policy.Principal{ARN: userARN, Account: account, UserName: "dev"}}}
}

func sessionKey() *Key {
	sum := sha256.Sum256([]byte("token"))
	k := userKey()
	k.ID, k.Token, k.Expires = "ASIDEV", &sum, now.Add(time.Hour)
	return k
}

func signedRequest(t *testing.T, key, secret, token, service string, at time.Time) *http.Request {
	t.Helper()
	r := httptest.NewRequest("POST", "http://127.0.0.1:4780/restapis?x=1", nil)
	hash := sha256.Sum256([]byte("body"))
	if err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: key, SecretAccessKey: secret, SessionToken: token}, r, hex.EncodeToString(hash[:]), service, "eu-west-1", at); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAuthenticate(t *testing.T) {
	g := newGuard(userKey(), sessionKey())
	unsigned := httptest.NewRequest("GET", "/", nil)
	bearer := httptest.NewRequest("GET", "/", nil)
	bearer.Header.Set("Authorization", "Bearer x")
	good := signedRequest(t, "AKIDEV", "secret", "", "apigateway", now)
	for _, c := range []struct {
		name    string
		request *http.Request
		body    string
		service string
		codes   [4]string // REST-JSON, EC2, query, REST-XML; empty: it is accepted
	}{
		{"signed", good, "body", "apigateway", [4]string{}},
		{"whatever service", good, "body", "", [4]string{}},
		{"a session", signedRequest(t, "ASIDEV", "secret", "token", "apigateway", now), "body", "", [4]string{}},
		{"not signed", unsigned, "", "", [4]string{"MissingAuthenticationTokenException", "MissingParameter", "MissingAuthenticationToken", "MissingAuthenticationToken"}},
		{"no signature", bearer, "", "", [4]string{"IncompleteSignatureException", "IncompleteSignature", "IncompleteSignature", "IncompleteSignature"}},
		{"another body", good, "bodies", "", [4]string{"InvalidSignatureException", "SignatureDoesNotMatch", "SignatureDoesNotMatch", "SignatureDoesNotMatch"}},
		{"another service", good, "body", "ec2", [4]string{"InvalidSignatureException", "SignatureDoesNotMatch", "SignatureDoesNotMatch", "SignatureDoesNotMatch"}},
		{"another secret", signedRequest(t, "AKIDEV", "sesame", "", "ec2", now), "body", "", [4]string{"InvalidSignatureException", "SignatureDoesNotMatch", "SignatureDoesNotMatch", "SignatureDoesNotMatch"}},
		{"too old", signedRequest(t, "AKIDEV", "secret", "", "ec2", now.Add(-6*time.Minute)), "body", "", [4]string{"InvalidSignatureException", "SignatureDoesNotMatch", "SignatureDoesNotMatch", "SignatureDoesNotMatch"}},
		{"unknown key", signedRequest(t, "AKINOBODY", "secret", "", "ec2", now), "body", "", [4]string{"UnrecognizedClientException", "AuthFailure", "InvalidClientTokenId", "InvalidClientTokenId"}},
		{"another token", signedRequest(t, "ASIDEV", "secret", "tokens", "ec2", now), "body", "", [4]string{"UnrecognizedClientException", "AuthFailure", "InvalidClientTokenId", "InvalidClientTokenId"}},
		{"no token", signedRequest(t, "ASIDEV", "secret", "", "ec2", now), "body", "", [4]string{"UnrecognizedClientException", "AuthFailure", "InvalidClientTokenId", "InvalidClientTokenId"}},
		{"a token too many", signedRequest(t, "AKIDEV", "secret", "token", "ec2", now), "body", "", [4]string{"UnrecognizedClientException", "AuthFailure", "InvalidClientTokenId", "InvalidClientTokenId"}},
	} {
		for i, protocol := range []awsv1.Protocol_Kind{awsv1.Protocol_KIND_REST_JSON, awsv1.Protocol_KIND_EC2_QUERY, awsv1.Protocol_KIND_QUERY, awsv1.Protocol_KIND_REST_XML} {
			who, scope, refused := g.Authenticate(t.Context(), Request{Request: c.request, Body: []byte(c.body), Protocol: protocol, Service: c.service})
			switch {
			case c.codes[i] == "":
				if refused != nil || who.Principal.ARN != userARN || scope.Region != "eu-west-1" || scope.Service != "apigateway" {
					t.Errorf("%s: %v, %+v, %v", c.name, who, scope, refused)
				}
			case refused == nil || who != nil || refused.Code != c.codes[i] || refused.Kind != apierr.KindUnauthenticated:
				t.Errorf("%s, %v: %v, want %s", c.name, protocol, refused, c.codes[i])
			}
		}
	}
	over := sessionKey()
	over.Expires = now
	if _, _, refused := newGuard(over).Authenticate(t.Context(), Request{Request: signedRequest(t, "ASIDEV", "secret", "token", "ec2", now), Body: []byte("body"), Protocol: awsv1.Protocol_KIND_QUERY}); refused == nil || refused.Code != "ExpiredToken" {
		t.Errorf("a session that is over: %v", refused)
	}
}

func programs(t *testing.T, documents ...string) (all []*policy.Program) {
	t.Helper()
	for _, text := range documents {
		d, err := policy.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		p, err := policy.CompileIdentity(d)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func statement(effect, action, resource, condition string) string {
	if condition != "" {
		condition = `,"Condition":` + condition
	}
	return `{"Version":"2012-10-17","Statement":[{"Effect":"` + effect + `","Action":"` + action + `","Resource":"` + resource + `"` + condition + `}]}`
}

func TestAuthorize(t *testing.T) {
	about := Circumstances{Region: "eu-west-1", Source: netip.MustParseAddr("127.0.0.1"), Time: now}
	get := &apigatewayv1.GetRestApiRequest{RestApiId: "a1"}
	all := func(action string) []*policy.Program { return programs(t, statement("Allow", action, "*", "")) }
	for _, c := range []struct {
		name string
		who  Caller
		req  proto.Message
		want string // part of the refusal
	}{
		{"nothing allows", Caller{}, get, "User: " + userARN + " is not authorized to perform: apigateway:GET on resource: arn:aws:apigateway:eu-west-1::/restapis/a1 because no identity-based policy allows the apigateway:GET action"},
		{"allowed", Caller{Identity: all("apigateway:GET")}, get, ""},
		{"by another policy", Caller{Identity: append(all("ec2:*"), all("apigateway:*")...)}, get, ""},
		{"of another API", Caller{Identity: programs(t, statement("Allow", "apigateway:GET", "arn:aws:apigateway:*::/restapis/b1", ""))}, get, "no identity-based policy"},
		{"denied by one", Caller{Identity: append(all("apigateway:*"), programs(t, statement("Deny", "apigateway:*", "*", ""))...)}, get, "with an explicit deny in an identity-based policy"},
		{"beyond the boundary", Caller{Identity: all("*"), Boundary: all("ec2:*")}, get, "because no permissions boundary allows the apigateway:GET action"},
		{"beyond the session", Caller{Identity: all("*"), Session: all("ec2:*")}, get, "because no session policy allows the apigateway:GET action"},
		{"root", Caller{Root: true}, get, ""},
		{"in that region", Caller{Identity: programs(t, statement("Allow", "*", "*", `{"StringEquals":{"aws:RequestedRegion":"eu-west-1"}}`))}, get, ""},
		{"in another region", Caller{Identity: programs(t, statement("Allow", "*", "*", `{"StringEquals":{"aws:RequestedRegion":"us-east-1"}}`))}, get, "no identity-based policy"},
		{"from there", Caller{Identity: programs(t, statement("Allow", "*", "*", `{"IpAddress":{"aws:SourceIp":"127.0.0.0/8"}}`))}, get, ""},
		{"from elsewhere", Caller{Identity: programs(t, statement("Allow", "*", "*", `{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`))}, get, "no identity-based policy"},
		{"one of two resources", Caller{Identity: programs(t, statement("Allow", "ec2:*", "arn:aws:ec2:*:*:vpc-endpoint/*", ""))},
			&ec2v1.CreateVpcEndpointRequest{VpcId: new("vpc-0a")}, "You are not authorized to perform this operation. User: " + userARN + " is not authorized to perform: ec2:CreateVpcEndpoint on resource: arn:aws:ec2:eu-west-1:111122223333:vpc/vpc-0a"},
		{"a policy of an API, too", Caller{Identity: all("apigateway:POST")}, &apigatewayv1.CreateRestApiRequest{Policy: new("{}")}, "perform: apigateway:UpdateRestApiPolicy on"},
		{"whose am I", Caller{}, &stsv1.GetCallerIdentityRequest{}, ""},
		{"the cluster's, by another account", Caller{Root: true}, &adminv1.SetDnsFaultRequest{}, "concerns all accounts"},
		{"the cluster's, by its root", Caller{Root: true, Operator: true}, &adminv1.SetDnsFaultRequest{}, ""},
		{"the cluster's, by a policy", Caller{Operator: true, Identity: all("postern:SetDnsFault")}, &adminv1.SetDnsFaultRequest{}, ""},
		{"the cluster's, by none", Caller{Operator: true}, &adminv1.SetDnsFaultRequest{}, "perform: postern:SetDnsFault on resource: *"},
	} {
		c.who.Account, c.who.Principal = account, &policy.Principal{ARN: userARN, Account: account}
		refused := c.who.Authorize(operation(t, c.req), c.req, about)
		if (refused == nil) != (c.want == "") || refused != nil && (!strings.Contains(refused.Message, c.want) || refused.Kind != apierr.KindAccessDenied) {
			t.Errorf("%s: %v, want %q", c.name, refused, c.want)
		}
	}
}

// call makes a gRPC call through the interceptors of the network and of the chain.
func call(ctx context.Context, g *Guard, method string, req any) (context.Context, error) {
	info := &grpc.UnaryServerInfo{FullMethod: method}
	var reached context.Context
	_, err := g.FrontUnary(func(context.Context) bool { return false })(ctx, req, info, func(ctx context.Context, req any) (any, error) {
		return g.Authorize(ctx, req, info, func(ctx context.Context, _ any) (any, error) {
			reached = ctx
			return nil, nil
		})
	})
	return reached, err
}

func TestGRPC(t *testing.T) {
	k := userKey()
	k.Caller.Operator, k.Caller.Identity = true, programs(t, statement("Allow", "postern:Status", "*", ""))
	g := newGuard(k)
	sign := func(method string, at time.Time) context.Context {
		r := SignedRequest(method, nil)
		if err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: "AKIDEV", SecretAccessKey: "secret"}, r, sigv4.Unsigned, SigningName, "us-east-1", at); err != nil {
			t.Fatal(err)
		}
		md := metadata.Pairs(metaAccount, "999999999999", metaAccessKey, "AKIAOTHER")
		for name, values := range r.Header {
			md.Set(name, values...)
		}
		return metadata.NewIncomingContext(t.Context(), md)
	}
	ctx, err := call(sign(adminv1.Admin_Status_FullMethodName, now), g, adminv1.Admin_Status_FullMethodName, &adminv1.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	md, _ := metadata.FromIncomingContext(ctx)
	if md.Get(metaAccount)[0] != account || md.Get(metaAccessKey)[0] != "AKIDEV" {
		t.Errorf("the call is made as %v", md)
	}
	for name, c := range map[string]struct {
		ctx    context.Context
		method string
		req    any
		want   codes.Code
	}{
		"not signed":     {t.Context(), adminv1.Admin_Status_FullMethodName, &adminv1.StatusRequest{}, codes.Unauthenticated},
		"another method": {sign(adminv1.Admin_Status_FullMethodName, now), adminv1.Admin_Reset_FullMethodName, &adminv1.ResetRequest{}, codes.Unauthenticated},
		"too old":        {sign(adminv1.Admin_Status_FullMethodName, now.Add(-time.Hour)), adminv1.Admin_Status_FullMethodName, &adminv1.StatusRequest{}, codes.Unauthenticated},
		"not allowed":    {sign(adminv1.Admin_Reset_FullMethodName, now), adminv1.Admin_Reset_FullMethodName, &adminv1.ResetRequest{}, codes.PermissionDenied},
	} {
		if reached, err := call(c.ctx, g, c.method, c.req); status.Code(err) != c.want || reached != nil {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := call(t.Context(), g, "/grpc.health.v1.Health/Check", nil); err != nil {
		t.Errorf("health needs a signature: %v", err)
	}
}
