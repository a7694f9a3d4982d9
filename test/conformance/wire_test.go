package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// The SDK signs, routes and decodes; these hooks let it send what its types
// can't hold, and keep what the wire said before its types forget it.

// exchange is what one call adds to a request and keeps of the answer.
type exchange struct {
	// edits are made to the JSON body before it is signed.
	edits []edit
	// status and body are the answer's.
	status int
	body   []byte
}

// edit sets a member of the request body.
type edit struct {
	path  []string
	value any
}

type exchangeKey struct{}

func withExchange(ctx context.Context) (context.Context, *exchange) {
	x := new(exchange)
	return context.WithValue(ctx, exchangeKey{}, x), x
}

// emptyMember stands for an empty member of a path, which the SDK refuses to
// build; it is taken out again before signing.
const emptyMember = "-empty-member-"

// hooks adds the above to every call of a client.
func hooks(stack *middleware.Stack) error {
	// The server is asked, not the SDK's own check of required members.
	_, _ = stack.Initialize.Remove("OperationInputValidation")
	err := stack.Serialize.Add(middleware.SerializeMiddlewareFunc("EditBody",
		func(ctx context.Context, in middleware.SerializeInput, next middleware.SerializeHandler) (middleware.SerializeOutput, middleware.Metadata, error) {
			x, _ := ctx.Value(exchangeKey{}).(*exchange)
			request, ok := in.Request.(*smithyhttp.Request)
			if !ok || x == nil {
				return next.HandleSerialize(ctx, in)
			}
			edited, err := x.edit(request)
			if err != nil {
				return middleware.SerializeOutput{}, middleware.Metadata{}, err
			}
			in.Request = edited
			return next.HandleSerialize(ctx, in)
		}), middleware.After)
	if err != nil {
		return err
	}
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("KeepAnswer",
		func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
			out, metadata, err := next.HandleDeserialize(ctx, in)
			x, _ := ctx.Value(exchangeKey{}).(*exchange)
			response, ok := out.RawResponse.(*smithyhttp.Response)
			if err != nil || x == nil || !ok {
				return out, metadata, err
			}
			x.status = response.StatusCode
			x.body, err = io.ReadAll(response.Body)
			_ = response.Body.Close()
			response.Body = io.NopCloser(bytes.NewReader(x.body))
			return out, metadata, err
		}), middleware.After)
}

// edit returns the request with its edits made.
func (x *exchange) edit(request *smithyhttp.Request) (*smithyhttp.Request, error) {
	request.URL.Path = strings.ReplaceAll(request.URL.Path, emptyMember, "")
	request.URL.RawPath = strings.ReplaceAll(request.URL.RawPath, emptyMember, "")
	if len(x.edits) == 0 || request.GetStream() == nil {
		return request, nil
	}
	data, err := io.ReadAll(request.GetStream())
	if err != nil {
		return nil, err
	}
	var body any
	if err := json.Unmarshal(data, &body); err != nil {
		return nil, fmt.Errorf("edit the request's body: %w", err)
	}
	for _, e := range x.edits {
		if err := set(body, e.path, e.value); err != nil {
			return nil, err
		}
	}
	if data, err = json.Marshal(body); err != nil {
		return nil, err
	}
	return request.SetStream(bytes.NewReader(data))
}

// set puts a value into a JSON document, making the objects on the way.
func set(document any, path []string, value any) error {
	for i, name := range path {
		last := i == len(path)-1
		switch at := document.(type) {
		case map[string]any:
			if last {
				at[name] = value
				return nil
			}
			if at[name] == nil {
				at[name] = make(map[string]any)
			}
			document = at[name]
		case []any:
			var n int
			if _, err := fmt.Sscan(name, &n); err != nil || n >= len(at) {
				return fmt.Errorf("edit the request's body: no element %q", name)
			}
			if last {
				at[n] = value
				return nil
			}
			document = at[n]
		default:
			return fmt.Errorf("edit the request's body: %q is within %T", name, document)
		}
	}
	return nil
}

// clients are the SDK's clients of one account in one region.
type clients struct {
	apigateway *apigateway.Client
	ec2        *ec2.Client
	sts        *sts.Client
	route53    *route53.Client
}

// newClients returns clients of an account.
func newClients(api, account, region string) clients {
	base := aws.String("http://" + api)
	who := credentials.NewStaticCredentialsProvider(account, "secret", "")
	add := []func(*middleware.Stack) error{hooks}
	return clients{
		apigateway: apigateway.New(apigateway.Options{BaseEndpoint: base, Region: region, Credentials: who, Retryer: aws.NopRetryer{}, APIOptions: add}),
		ec2:        ec2.New(ec2.Options{BaseEndpoint: base, Region: region, Credentials: who, Retryer: aws.NopRetryer{}, APIOptions: add}),
		sts:        sts.New(sts.Options{BaseEndpoint: base, Region: region, Credentials: who, Retryer: aws.NopRetryer{}, APIOptions: add}),
		route53:    route53.New(route53.Options{BaseEndpoint: base, Region: region, Credentials: who, Retryer: aws.NopRetryer{}, APIOptions: add}),
	}
}

func (c clients) service(name string) (any, error) {
	switch name {
	case "apigateway":
		return c.apigateway, nil
	case "ec2":
		return c.ec2, nil
	case "sts":
		return c.sts, nil
	case "route53":
		return c.route53, nil
	}
	return nil, fmt.Errorf("no client for %q", name)
}

// unsendable is the SDK's refusal to build a path without one of its members.
var unsendable = regexp.MustCompile(`input member (\w+) must not be empty`)
