package gateway

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/posternhq/postern/controlplane/apierr"
)

// Account and region of a request that names none.
const (
	defaultAccount = "123456789012"
	defaultRegion  = "us-west-2"
)

// Names that cross to the services and back. Headers of the client with the
// first two names are handed on; the next ones are never taken from a client.
const (
	metaConsistency = "x-postern-consistency"
	metaMinIndex    = "x-postern-min-index"

	metaAccount   = "x-postern-account"
	metaRegion    = "x-postern-region"
	metaRequestID = "x-postern-request-id"

	// For the audit; never taken from a client either.
	metaAccessKey = "x-postern-access-key"
	metaSource    = "x-postern-source"
	metaUserAgent = "x-postern-user-agent"

	metaVersion = "x-postern-version"
	metaWarning = "x-postern-warning"
)

// call is who asks what: one request, as far as it is known before its
// operation is.
type call struct {
	// service is the signing name, "" if the request is not signed.
	service         string
	accessKey       string
	account, region string
	source          string // address of the client
	userAgent       string
	requestID       string
	consistency     string
	minIndex        string
}

var (
	accountPattern = regexp.MustCompile(`^[0-9]{12}$`)
	// Regions become DNS labels and parts of record keys.
	regionPattern = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$`)
)

// newCall reads the credential scope. The signature itself is not looked at:
// under auth none any is good.
func newCall(r *http.Request, query url.Values) (*call, *apierr.Error) {
	c := &call{
		account:     defaultAccount,
		region:      defaultRegion,
		requestID:   newRequestID(),
		source:      r.RemoteAddr,
		userAgent:   printable(r.UserAgent()),
		consistency: printable(r.Header.Get(metaConsistency)),
		minIndex:    printable(r.Header.Get(metaMinIndex)),
	}
	accessKey, region, service, ok := credentialScope(r.Header.Get("Authorization"), query)
	if !ok {
		return c, nil
	}
	c.service, c.accessKey = service, printable(accessKey)
	if accountPattern.MatchString(accessKey) {
		c.account = accessKey
	}
	if region != "" {
		if !regionPattern.MatchString(region) {
			return c, apierr.New(apierr.KindUnauthenticated, "InvalidSignatureException", "Credential should be scoped to a valid region.")
		}
		c.region = region
	}
	return c, nil
}

// credentialScope takes apart
// `AWS4-HMAC-SHA256 Credential=KEY/20260101/us-west-2/ec2/aws4_request, …`
// or the query parameter of a presigned URL.
func credentialScope(authorization string, query url.Values) (accessKey, region, service string, ok bool) {
	credential := query.Get("X-Amz-Credential")
	if rest, found := strings.CutPrefix(authorization, "AWS4-HMAC-SHA256"); found {
		_, rest, _ = strings.Cut(rest, "Credential=")
		credential, _, _ = strings.Cut(rest, ",")
		credential = strings.TrimSpace(credential)
	}
	parts := strings.Split(credential, "/")
	if len(parts) < 5 || parts[len(parts)-1] != "aws4_request" {
		return "", "", "", false
	}
	// From the end: an access key may contain slashes, the scope can't.
	n := len(parts)
	return strings.Join(parts[:n-4], "/"), parts[n-3], parts[n-2], true
}

// metadata is what goes out with every RPC.
func (c *call) metadata() metadata.MD {
	md := metadata.Pairs(metaAccount, c.account, metaRegion, c.region, metaRequestID, c.requestID, metaSource, c.source)
	if c.accessKey != "" {
		md.Set(metaAccessKey, c.accessKey)
	}
	if c.userAgent != "" {
		md.Set(metaUserAgent, c.userAgent)
	}
	if c.consistency != "" {
		md.Set(metaConsistency, c.consistency)
	}
	if c.minIndex != "" {
		md.Set(metaMinIndex, c.minIndex)
	}
	return md
}

// printable returns s if grpc metadata can carry it, else nothing.
func printable(s string) string {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return ""
		}
	}
	return s
}

type callKey struct{}

func withCall(ctx context.Context, c *call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// newRequestID returns a random UUID.
func newRequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	var out [36]byte
	hex.Encode(out[0:8], b[0:4])
	hex.Encode(out[9:13], b[4:6])
	hex.Encode(out[14:18], b[6:8])
	hex.Encode(out[19:23], b[8:10])
	hex.Encode(out[24:36], b[10:16])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}

// newAPIGatewayID returns the opaque value of x-amz-apigw-id: 15 characters
// and a padding sign.
func newAPIGatewayID() string {
	var b [11]byte
	_, _ = rand.Read(b[:])
	return base64.URLEncoding.EncodeToString(b[:])
}
