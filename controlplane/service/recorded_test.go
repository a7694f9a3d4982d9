package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/constraint"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
)

// The replay of what AWS was recorded to answer, on the service alone: neither
// HTTP nor the SDK takes part. It finds differences in a second;
// test/conformance is the judge.

const recordedFolder = "../../test/conformance/testdata/recorded"

// recordedFloor is the number of matching steps of each file, of the steps
// whose calls are known. What doesn't match needs authorizers, or is the
// business of the gateway (JSON types).
var recordedFloor = map[string]int{
	"rest-apis.json":             25,
	"resources.json":             17,
	"methods.json":               20,
	"method-responses.json":      11,
	"integrations.json":          29,
	"integration-responses.json": 12,
	"deployments-stages.json":    53,
	"models.json":                8,
	"request-validators.json":    12,
}

type recordedSequence struct {
	Steps []struct {
		Step  string
		Calls []recordedCall
		// Answer is the SDK's view.
		Answer map[string]any
	}
}

type recordedCall struct {
	Service, Operation string
	Params             map[string]any
}

func TestRecorded(t *testing.T) {
	for _, file := range slices.Sorted(maps.Keys(recordedFloor)) {
		t.Run(file, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(recordedFolder, file))
			if err != nil {
				t.Fatal(err)
			}
			var sequences map[string]recordedSequence
			if err := json.Unmarshal(data, &sequences); err != nil {
				t.Fatal(err)
			}
			matched, known := 0, 0
			for _, name := range slices.Sorted(maps.Keys(sequences)) {
				r := newReplay()
				for i, step := range sequences[name].Steps {
					if len(step.Calls) == 0 {
						continue
					}
					known++
					if diff := r.step(step.Calls, step.Answer); diff != "" {
						t.Logf("%s, step %d %s (%s):\n  %s", name, i, step.Step, step.Calls[len(step.Calls)-1].Operation, diff)
						continue
					}
					matched++
				}
			}
			t.Logf("%d of %d steps match", matched, known)
			if matched < recordedFloor[file] {
				t.Errorf("%d steps match, there were %d", matched, recordedFloor[file])
			}
		})
	}
}

// replay is one sequence on a cluster of its own.
type replay struct {
	ctx    context.Context
	server apigatewayv1.ApiGatewayServer
	// bound maps placeholders to values.
	bound map[string]string
	// last maps what a placeholder such as <the restApiId> means to its newest value.
	last map[string]string
	// deployments in the order of their creation.
	deployments []string
}

func newReplay() *replay {
	return &replay{
		ctx:    as(context.Background(), "111111111111", "us-east-1"),
		server: NewAPIGateway(Config{Cluster: newFakeCluster()}),
		bound:  make(map[string]string),
		last:   make(map[string]string),
	}
}

// step makes all calls and compares the answer of the last. It returns how it differs.
func (r *replay) step(calls []recordedCall, want map[string]any) string {
	var (
		answer map[string]any
		err    error
	)
	for _, c := range calls {
		answer, err = r.call(c)
	}
	delete(want, "message") // of the HTTP body; Error.Message is the same
	if err != nil {
		answer = map[string]any{"Error": r.errorOf(err)}
		answer["ResponseMetadata"] = map[string]any{"HTTPHeaders": map[string]any{}, "HTTPStatusCode": float64(statusOf(err))}
	}
	return r.diff("", want, answer)
}

func statusOf(err error) int {
	status, _ := asAPIError(err).Answer(awsv1.Protocol_KIND_REST_JSON)
	return status
}

func (r *replay) errorOf(err error) map[string]any {
	_, code := asAPIError(err).Answer(awsv1.Protocol_KIND_REST_JSON)
	return map[string]any{"Code": code, "Message": asAPIError(err).Message}
}

func asAPIError(err error) *apierr.Error {
	var e *apierr.Error
	if !errors.As(err, &e) {
		return apierr.Internal("%v", err)
	}
	return e
}

// call makes one call the way grpc does: find the method, fill its request,
// check the constraints, run it.
func (r *replay) call(c recordedCall) (map[string]any, error) {
	service := apigatewayv1.File_postern_apigateway_v1_apigateway_proto.Services().ByName("ApiGateway")
	method := service.Methods().ByName(protoreflect.Name(c.Operation))
	if method == nil {
		return nil, apierr.Unsupported("%s", c.Operation)
	}
	params, _ := r.fill(c.Params).(map[string]any)
	if c.Operation == "PutIntegration" { // the SDK renames the two verbs
		params["resourceMethod"] = params["httpMethod"]
		delete(params, "httpMethod")
		if verb, ok := params["integrationHttpMethod"]; ok {
			params["httpMethod"] = verb
		}
	}
	handler := reflect.ValueOf(r.server).MethodByName(c.Operation)
	req := reflect.New(handler.Type().In(1).Elem()).Interface().(proto.Message)
	if err := fillMessage(req.ProtoReflect(), params); err != nil {
		return nil, err
	}
	if err := constraint.Validate(fmt.Sprintf("/%s/%s", service.FullName(), c.Operation), req); err != nil {
		return nil, err
	}
	out := handler.Call([]reflect.Value{reflect.ValueOf(r.ctx), reflect.ValueOf(req)})
	if err, _ := out[1].Interface().(error); err != nil {
		return nil, err
	}
	message := out[0].Interface().(proto.Message)
	r.remember(c.Operation, message)
	status := 200
	if op, _ := proto.GetExtension(method.Options(), awsv1.E_Operation).(*awsv1.Operation); op.GetStatus() != 0 {
		status = int(op.GetStatus())
	}
	answer := toMap(message.ProtoReflect())
	answer["ResponseMetadata"] = map[string]any{"HTTPHeaders": map[string]any{}, "HTTPStatusCode": float64(status)}
	return answer, nil
}

// remember keeps the ids that later calls may mean.
func (r *replay) remember(operation string, m proto.Message) {
	switch m := m.(type) {
	case *apigatewayv1.RestApi:
		r.last["<the restApiId>"] = m.GetId()
		r.last["<the resourceId>"] = m.GetRootResourceId()
		r.last["<the parentId>"] = m.GetRootResourceId()
	case *apigatewayv1.Resource:
		if operation == "CreateResource" {
			r.last["<the resourceId>"] = m.GetId()
			if strings.Count(m.GetPath(), "/") == 1 {
				r.last["<parent-id:2>"] = m.GetId()
			}
		}
	case *apigatewayv1.RequestValidator:
		r.last["<the requestValidatorId>"] = m.GetId()
	case *apigatewayv1.Deployment:
		if operation == "CreateDeployment" {
			r.deployments = append(r.deployments, m.GetId())
		}
	case *apigatewayv1.GetResourcesResponse:
		r.last["<parent-id:1>"] = m.GetItem()[0].GetId()
	}
}

var placeholder = regexp.MustCompile(`<[^<>]*>`)

// fill replaces the placeholders of parameters.
func (r *replay) fill(v any) any {
	switch v := v.(type) {
	case string:
		return placeholder.ReplaceAllStringFunc(v, r.value)
	case map[string]any:
		out := make(map[string]any)
		for k, e := range v {
			out[placeholder.ReplaceAllStringFunc(k, r.value)] = r.fill(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = r.fill(e)
		}
		return out
	}
	return v
}

// value is what a placeholder stands for in a call.
func (r *replay) value(name string) string {
	if v, ok := r.bound[name]; ok {
		return v
	}
	v, ok := r.last[name]
	switch {
	case strings.HasPrefix(name, "<the "):
		return v
	case ok:
	case name == "<uri:1>":
		v = "http://127.0.0.1:8080/"
	case strings.HasPrefix(name, "<name:"):
		v = "name" + strings.Trim(name[6:], ">")
	case len(r.deployments) > 0: // an id that no answer has shown yet: the newest deployment
		v = r.deployments[len(r.deployments)-1]
	default:
		v = r.last["<the restApiId>"]
	}
	r.bound[name] = v
	return v
}

// diff compares a recorded value with ours and binds placeholders that had no value yet.
func (r *replay) diff(path string, want, have any) string {
	switch want := want.(type) {
	case map[string]any:
		if text, ok := have.(string); ok { // JSON in a string, shown opened
			var opened any
			if err := json.Unmarshal([]byte(text), &opened); err != nil {
				return fmt.Sprintf("%s: want JSON, have %q", path, text)
			}
			have = opened
		}
		got, ok := have.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s: want %v, have %v", path, want, have)
		}
		var out []string
		seen := make(map[string]bool)
		for _, k := range slices.Sorted(maps.Keys(want)) {
			key := placeholder.ReplaceAllStringFunc(k, r.value)
			seen[key] = true
			v, exists := got[key]
			if k == "items" && !exists {
				v, exists, seen["item"] = got["item"], true, true
			}
			if !exists {
				out = append(out, fmt.Sprintf("%s.%s: want %v, have nothing", path, k, want[k]))
				continue
			}
			if d := r.diff(path+"."+k, want[k], v); d != "" {
				out = append(out, d)
			}
		}
		for _, k := range slices.Sorted(maps.Keys(got)) {
			if !seen[k] {
				out = append(out, fmt.Sprintf("%s.%s: want nothing, have %v", path, k, got[k]))
			}
		}
		return strings.Join(out, "\n  ")
	case []any:
		got, ok := have.([]any)
		if !ok || len(got) != len(want) {
			return fmt.Sprintf("%s: want %v, have %v", path, want, have)
		}
		var out []string
		for i := range want {
			if d := r.diff(fmt.Sprintf("%s[%d]", path, i), want[i], got[i]); d != "" {
				out = append(out, d)
			}
		}
		return strings.Join(out, "\n  ")
	case string:
		if want == "datetime" {
			if _, ok := have.(float64); !ok {
				return fmt.Sprintf("%s: want a time, have %v", path, have)
			}
			return ""
		}
		got, ok := have.(string)
		if !ok {
			return fmt.Sprintf("%s: want %q, have %v", path, want, have)
		}
		if placeholder.FindString(want) == want && want != "<region>" && want != "<partition>" {
			if _, ok := r.bound[want]; !ok {
				r.bound[want] = got
				return ""
			}
		}
		expected := placeholder.ReplaceAllStringFunc(want, func(name string) string {
			switch name {
			case "<region>":
				return "us-east-1"
			case "<partition>":
				return "aws"
			}
			if v, ok := r.bound[name]; ok {
				return v
			}
			return name
		})
		got = strings.ReplaceAll(got, "123456789012", "111111111111")
		if got != expected {
			return fmt.Sprintf("%s: want %q, have %q", path, expected, got)
		}
		return ""
	}
	if !reflect.DeepEqual(want, have) {
		return fmt.Sprintf("%s: want %v, have %v", path, want, have)
	}
	return ""
}

// isTransparent reports whether a message stands for its only field.
func isTransparent(d protoreflect.MessageDescriptor) bool {
	s, _ := proto.GetExtension(d.Options(), awsv1.E_Shape).(*awsv1.Shape)
	return s.GetTransparent()
}

// fillMessage fills a request from parameters.
func fillMessage(m protoreflect.Message, params map[string]any) error {
	for name, v := range params {
		f := m.Descriptor().Fields().ByJSONName(name)
		if f == nil || v == nil {
			continue
		}
		if err := fillField(m, f, v); err != nil {
			return err
		}
	}
	return nil
}

func fillField(m protoreflect.Message, f protoreflect.FieldDescriptor, v any) error {
	switch {
	case f.IsMap():
		entries := m.Mutable(f).Map()
		for k, e := range v.(map[string]any) {
			value := entries.NewValue()
			if f.MapValue().Kind() == protoreflect.MessageKind {
				if err := fillAny(value.Message(), e); err != nil {
					return err
				}
			} else {
				var err error
				if value, err = scalar(f.MapValue(), e); err != nil {
					return err
				}
			}
			entries.Set(protoreflect.ValueOfString(k).MapKey(), value)
		}
	case f.IsList():
		list := m.Mutable(f).List()
		for _, e := range v.([]any) {
			value := list.NewElement()
			if f.Kind() == protoreflect.MessageKind {
				if err := fillAny(value.Message(), e); err != nil {
					return err
				}
			} else {
				var err error
				if value, err = scalar(f, e); err != nil {
					return err
				}
			}
			list.Append(value)
		}
	case f.Kind() == protoreflect.MessageKind:
		return fillAny(m.Mutable(f).Message(), v)
	default:
		value, err := scalar(f, v)
		if err != nil {
			return err
		}
		m.Set(f, value)
	}
	return nil
}

func fillAny(m protoreflect.Message, v any) error {
	if isTransparent(m.Descriptor()) {
		if v == nil {
			return nil
		}
		return fillField(m, m.Descriptor().Fields().Get(0), v)
	}
	return fillMessage(m, v.(map[string]any))
}

func scalar(f protoreflect.FieldDescriptor, v any) (protoreflect.Value, error) {
	switch v := v.(type) {
	case string:
		if f.Kind() == protoreflect.StringKind {
			return protoreflect.ValueOfString(v), nil
		}
	case bool:
		if f.Kind() == protoreflect.BoolKind {
			return protoreflect.ValueOfBool(v), nil
		}
	case float64:
		switch f.Kind() {
		case protoreflect.Int32Kind:
			return protoreflect.ValueOfInt32(int32(v)), nil
		case protoreflect.DoubleKind:
			return protoreflect.ValueOfFloat64(v), nil
		}
	}
	return protoreflect.Value{}, apierr.New(apierr.KindSerialization, "", "%v can not be converted to %s", v, f.Kind())
}

// toMap is an answer as the SDK shows it.
func toMap(m protoreflect.Message) map[string]any {
	out := make(map[string]any)
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if m.Has(f) {
			out[f.JSONName()] = toAny(f, m.Get(f))
		} else if f.JSONName() == "item" {
			out["item"] = []any{}
		}
	}
	return out
}

func toAny(f protoreflect.FieldDescriptor, v protoreflect.Value) any {
	switch {
	case f.IsMap():
		out := make(map[string]any)
		v.Map().Range(func(k protoreflect.MapKey, e protoreflect.Value) bool {
			out[k.String()] = scalarOrMessage(f.MapValue(), e)
			return true
		})
		return out
	case f.IsList():
		out := []any{}
		for i := range v.List().Len() {
			out = append(out, scalarOrMessage(f, v.List().Get(i)))
		}
		return out
	}
	return scalarOrMessage(f, v)
}

func scalarOrMessage(f protoreflect.FieldDescriptor, v protoreflect.Value) any {
	switch f.Kind() {
	case protoreflect.MessageKind:
		m := v.Message()
		if !isTransparent(m.Descriptor()) {
			return toMap(m)
		}
		only := m.Descriptor().Fields().Get(0)
		if only.HasPresence() && !m.Has(only) {
			return nil
		}
		return toAny(only, m.Get(only))
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		return float64(v.Int())
	}
	return v.Interface()
}
