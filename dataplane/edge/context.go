package edge

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ContextValue gives the $context values of a request (data-plane.md §10) by
// name; values that don't exist here are not ok.
func (q *request) ContextValue(name string) (string, bool) {
	host, _, _ := strings.Cut(q.head.Host, ":")
	v := ""
	switch name {
	case "accountId":
		v = q.api.Account
	case "apiId":
		v = q.api.ID
	case "awsEndpointRequestId", "extendedRequestId":
		v = q.extendedID
	case "deploymentId":
		v = q.stage.DeploymentID
	case "domainName":
		v = host
	case "domainPrefix":
		v, _, _ = strings.Cut(host, ".")
	case "httpMethod":
		v = q.head.Method
	case "identity.accessKey", "identity.accountId", "identity.caller", "identity.user", "identity.userArn":
		v = q.identity(name)
	case "identity.sourceIp":
		v = q.arrival.Source.String()
	case "identity.userAgent":
		v = q.head.Header.Get("User-Agent")
	case "identity.vpcId":
		v = q.arrival.VPC
	case "identity.vpceId":
		v = q.arrival.Endpoint
	case "path":
		v = q.path
	case "protocol":
		v = "HTTP/1.1" // whatever the client speaks
	case "requestId":
		v = q.requestID
	case "requestTime":
		v = q.time.UTC().Format("02/Jan/2006:15:04:05 -0700")
	case "requestTimeEpoch":
		v = strconv.FormatInt(q.time.UnixMilli(), 10)
	case "resourceId":
		v = q.method.ResourceID
	case "resourcePath":
		v = q.method.ResourcePath
	case "stage":
		v = q.stage.Name
	}
	return v, v != ""
}

// identity is one of the values that methods with AWS_IAM have of their caller.
func (q *request) identity(name string) string {
	if q.prepared.auth != authIAM {
		return ""
	}
	switch p := &q.caller.Principal; name {
	case "identity.accessKey":
		return q.caller.AccessKeyID
	case "identity.accountId":
		return p.Account
	case "identity.userArn":
		return p.ARN
	default: // caller, user
		return p.UserID
	}
}

// Ids need not be secret, only unlike each other.

// newRequestID is a random UUID (RFC 9562 §5.4).
func newRequestID() string {
	a, b := rand.Uint64(), rand.Uint64()
	a = a&^0xf000 | 0x4000
	b = b&^(3<<62) | 2<<62
	var raw [16]byte
	for i := range 8 {
		raw[i], raw[8+i] = byte(a>>(56-8*i)), byte(b>>(56-8*i))
	}
	var out [36]byte
	hex.Encode(out[0:8], raw[0:4])
	hex.Encode(out[9:13], raw[4:6])
	hex.Encode(out[14:18], raw[6:8])
	hex.Encode(out[19:23], raw[8:10])
	hex.Encode(out[24:36], raw[10:16])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}

// newExtendedID looks like AWS's: 16 characters of base64, the last one "=".
func newExtendedID() string {
	var raw [11]byte
	a, b := rand.Uint64(), rand.Uint64()
	for i := range raw {
		if i < 8 {
			raw[i] = byte(a >> (8 * i))
		} else {
			raw[i] = byte(b >> (8 * (i - 8)))
		}
	}
	// URL-safe, as AWS's are: the id is used in paths.
	return base64.URLEncoding.EncodeToString(raw[:])
}

const decisionAlphabet = "0123456789abcdefghjkmnpqrstvwxyz" // without i, l, o and u

// newDecisionID names a refusal in the answer and in the log.
func newDecisionID() string {
	var out [10]byte
	v := rand.Uint64()
	for i := range out {
		out[i] = decisionAlphabet[v&31]
		v >>= 5
	}
	return string(out[:])
}

// traceID continues the client's trace or begins one.
func traceID(r *http.Request, now time.Time) string {
	if v := r.Header.Get("X-Amzn-Trace-Id"); v != "" {
		return v
	}
	return fmt.Sprintf("Root=1-%08x-%08x%016x", uint32(now.Unix()), rand.Uint32(), rand.Uint64())
}
