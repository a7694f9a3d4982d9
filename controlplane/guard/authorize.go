package guard

import (
	"net/netip"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/dataplane/policy"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
)

// Circumstances are what conditions may ask about a call.
type Circumstances struct {
	Region    string
	Source    netip.Addr
	UserAgent string
	Secure    bool // over TLS
	Time      time.Time
}

// free are the operations that nobody has to be allowed, and AssumeRole, where the
// role has a say: its service decides.
var free = map[string]bool{"sts:GetCallerIdentity": true, "sts:GetSessionToken": true, "sts:AssumeRole": true}

// Authorize refuses a call whose caller may not make it, with AWS's words.
func (c *Caller) Authorize(method protoreflect.MethodDescriptor, req proto.Message, about Circumstances) *apierr.Error {
	kind := protocolOf(method)
	for _, action := range Actions(method, req, Where{c.Account, about.Region}) {
		if free[action.Name] {
			continue
		}
		if strings.HasPrefix(action.Name, "postern:") && !c.Operator {
			return apierr.New(apierr.KindAccessDenied, "", "%s concerns all accounts: only identities of the account that runs the cluster may be allowed it", action.Name)
		}
		if c.Root {
			continue
		}
		for _, resource := range action.Resources {
			if o := c.decide(action.Name, resource, about); !o.Allowed() {
				return denial(kind, c.Principal.ARN, action.Name, resource, o)
			}
		}
	}
	return nil
}

func protocolOf(method protoreflect.MethodDescriptor) awsv1.Protocol_Kind {
	service := method.Parent().(protoreflect.ServiceDescriptor)
	protocol, _ := proto.GetExtension(service.Options(), awsv1.E_Protocol).(*awsv1.Protocol)
	return protocol.GetKind()
}

// decide is what the caller's own policies say; the resources of the control
// plane have none.
func (c *Caller) decide(action, resource string, about Circumstances) policy.Outcome {
	r := &policy.Request{Action: action, Resource: []byte(resource), Time: about.Time}
	r.SetPrincipal(c.Principal)
	for name, values := range c.Context {
		r.SetContext(name, values...)
	}
	secure := "false"
	if about.Secure {
		secure = "true"
	}
	r.Set(policy.KeySecureTransport, secure)
	r.Set(policy.KeyUserAgent, about.UserAgent)
	r.SetAddr(policy.KeySourceIP, about.Source)
	r.SetContext("aws:RequestedRegion", about.Region)
	if strings.HasPrefix(action, "ec2:") {
		r.SetContext("ec2:Region", about.Region)
	}
	combination := policy.Combination{
		Auth: policy.AuthIAM, SameAccount: true,
		Identity: sum(c.Identity, r), Boundary: sum(c.Boundary, r), Session: sum(c.Session, r),
	}
	return combination.Outcome()
}

// sum is the verdict of policies that are one together; of none where there are none.
func sum(programs []*policy.Program, r *policy.Request) policy.Verdict {
	if len(programs) == 0 {
		return policy.Verdict{}
	}
	v, _ := policy.Together(len(programs), func(i int) *policy.Program { return programs[i] }, r)
	return v
}

// why are the ends of AWS's refusals.
var why = map[policy.Source][2]string{
	policy.SourceIdentity: {"no identity-based policy allows", "an identity-based policy"},
	policy.SourceBoundary: {"no permissions boundary allows", "a permissions boundary"},
	policy.SourceSession:  {"no session policy allows", "a session policy"},
}

func denial(kind awsv1.Protocol_Kind, arn, action, resource string, o policy.Outcome) *apierr.Error {
	words, known := why[o.Source]
	if !known {
		words = why[policy.SourceIdentity]
	}
	suffix := " because " + words[0] + " the " + action + " action"
	if o.Effect == policy.ExplicitDeny {
		suffix = " with an explicit deny in " + words[1]
	}
	text := "User: " + arn + " is not authorized to perform: " + action + " on resource: " + resource + suffix
	if kind == awsv1.Protocol_KIND_EC2_QUERY {
		text = "You are not authorized to perform this operation. " + text
	}
	return apierr.New(apierr.KindAccessDenied, "", "%s", text)
}
