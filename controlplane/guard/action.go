package guard

import (
	"net/http"
	"regexp"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
)

// Action is something that a request wants to do, in the words of IAM policies.
type Action struct {
	// Name is service:Action.
	Name string
	// Resources are ARNs, or "*" for an action that is about none. All of them
	// must be allowed.
	Resources []string
}

// Where is what a request works on.
type Where struct{ Account, Region string }

// Actions are what a request of an operation wants to do; it needs all of them.
// Names and resources follow the Service Authorization Reference of AWS: API
// Gateway's actions are HTTP verbs and its resources paths, EC2's resources are
// what a request names by id. Operations of Postern's own are postern:Name.
func Actions(method protoreflect.MethodDescriptor, req proto.Message, s Where) []Action {
	service := method.Parent().(protoreflect.ServiceDescriptor)
	protocol, _ := proto.GetExtension(service.Options(), awsv1.E_Protocol).(*awsv1.Protocol)
	name := string(method.Name())
	switch signing := protocol.GetSigningName(); signing {
	case "apigateway":
		return apiGatewayActions(method, req, s)
	case "ec2":
		return []Action{{"ec2:" + name, ec2Resources(name, req.ProtoReflect(), s)}}
	case "route53":
		return []Action{{"route53:" + name, route53Resources(req.ProtoReflect())}}
	case "":
		return []Action{{"postern:" + name, []string{"*"}}}
	default:
		return []Action{{signing + ":" + name, namedResources(req.ProtoReflect(), s)}}
	}
}

func apiGatewayActions(method protoreflect.MethodDescriptor, req proto.Message, s Where) []Action {
	verb, pattern := httpRule(method)
	arn := "arn:aws:apigateway:" + s.Region + "::"
	all := []Action{{"apigateway:" + verb, []string{arn + expand(pattern, req.ProtoReflect())}}}
	switch r := req.(type) {
	case *apigatewayv1.CreateRestApiRequest:
		if r.Policy != nil {
			all = append(all, Action{"apigateway:UpdateRestApiPolicy", []string{arn + "/restapis/*"}})
		}
	case *apigatewayv1.UpdateRestApiRequest:
		for _, p := range r.GetPatchOperations() {
			if p.GetPath() == "/policy" {
				all = append(all, Action{"apigateway:UpdateRestApiPolicy", []string{arn + "/restapis/" + r.GetRestApiId()}})
				break
			}
		}
	}
	return all
}

// httpRule is the verb and the path of an operation over HTTP.
func httpRule(method protoreflect.MethodDescriptor) (verb, pattern string) {
	rule, _ := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		return http.MethodGet, p.Get
	case *annotations.HttpRule_Put:
		return http.MethodPut, p.Put
	case *annotations.HttpRule_Post:
		return http.MethodPost, p.Post
	case *annotations.HttpRule_Delete:
		return http.MethodDelete, p.Delete
	case *annotations.HttpRule_Patch:
		return http.MethodPatch, p.Patch
	}
	return "", ""
}

var variable = regexp.MustCompile(`\{([a-z0-9_]+)(?:=[^}]*)?\}`)

// expand puts a request's members into the path of its operation.
func expand(pattern string, m protoreflect.Message) string {
	return variable.ReplaceAllStringFunc(pattern, func(v string) string {
		name := variable.FindStringSubmatch(v)[1]
		f := m.Descriptor().Fields().ByName(protoreflect.Name(name))
		if f == nil {
			return v
		}
		return m.Get(f).String()
	})
}

// ec2Kinds are the resources whose ids begin so.
var ec2Kinds = map[string]string{
	"vpc": "vpc", "vpce": "vpc-endpoint", "subnet": "subnet", "sg": "security-group", "sgr": "security-group-rule",
	"eni": "network-interface", "rtb": "route-table", "acl": "network-acl",
}

// ec2Made are the resources that do not have an id yet.
var ec2Made = map[string]string{
	"CreateVpc": "vpc", "CreateSubnet": "subnet", "CreateSecurityGroup": "security-group", "CreateVpcEndpoint": "vpc-endpoint",
}

var ec2ID = regexp.MustCompile(`^([a-z]+)-[0-9a-f]+$`)

// ec2Resources are what a request names, and what it makes. Descriptions are
// about no resource, whatever they filter by.
func ec2Resources(name string, m protoreflect.Message, s Where) []string {
	if strings.HasPrefix(name, "Describe") {
		return []string{"*"}
	}
	arn := "arn:aws:ec2:" + s.Region + ":" + s.Account + ":"
	var all []string
	if kind := ec2Made[name]; kind != "" {
		all = append(all, arn+kind+"/*")
	}
	each(m, func(_ protoreflect.FieldDescriptor, text string) {
		if parts := ec2ID.FindStringSubmatch(text); parts != nil && ec2Kinds[parts[1]] != "" {
			all = append(all, arn+ec2Kinds[parts[1]]+"/"+text)
		}
	})
	if len(all) == 0 {
		return []string{"*"}
	}
	return all
}

// route53Resources are the zone or the change that a request names, and the VPC
// of an association.
func route53Resources(m protoreflect.Message) []string {
	id := m.Descriptor().Fields().ByName("id")
	if id == nil {
		id = m.Descriptor().Fields().ByName("hostedzoneid")
	}
	if id == nil || m.Get(id).String() == "" {
		return []string{"*"}
	}
	kind := "hostedzone"
	if strings.HasPrefix(string(m.Descriptor().Name()), "GetChange") {
		kind = "change"
	}
	bare := strings.TrimPrefix(strings.TrimPrefix(m.Get(id).String(), "/"), kind+"/")
	return []string{"arn:aws:route53:::" + kind + "/" + bare}
}

// namedResources are the ARNs that a request of IAM or STS names, or makes of
// names. A path is not part of a name, so a user or role that has one goes by
// its name alone; policies on them have to be written so.
func namedResources(m protoreflect.Message, s Where) []string {
	var all []string
	fields := m.Descriptor().Fields()
	for _, member := range []struct{ field, kind string }{{"user_name", "user"}, {"role_name", "role"}, {"policy_name", "policy"}, {"group_name", "group"}} {
		if f := fields.ByName(protoreflect.Name(member.field)); f != nil && m.Has(f) {
			all = append(all, "arn:aws:iam::"+s.Account+":"+member.kind+"/"+m.Get(f).String())
			break // an inline policy belongs to the user or role before it
		}
	}
	for _, member := range []string{"policy_arn", "role_arn"} {
		if f := fields.ByName(protoreflect.Name(member)); f != nil && m.Has(f) && len(all) == 0 {
			all = append(all, m.Get(f).String())
		}
	}
	if len(all) == 0 {
		return []string{"*"}
	}
	return all
}

// each visits the texts in a message, also in lists and messages within it.
func each(m protoreflect.Message, visit func(protoreflect.FieldDescriptor, string)) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !m.Has(f) {
			continue
		}
		switch {
		case f.IsMap():
		case f.IsList():
			list := m.Get(f).List()
			for j := range list.Len() {
				one(f, list.Get(j), visit)
			}
		default:
			one(f, m.Get(f), visit)
		}
	}
}

func one(f protoreflect.FieldDescriptor, v protoreflect.Value, visit func(protoreflect.FieldDescriptor, string)) {
	switch f.Kind() {
	case protoreflect.StringKind:
		visit(f, v.String())
	case protoreflect.MessageKind:
		each(v.Message(), visit)
	}
}
