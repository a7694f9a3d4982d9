package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// renamed are members whose name in the body is not their own.
var renamed = map[string]string{"PutIntegration.integrationHttpMethod": "httpMethod"}

// invoke calls an operation by its name and returns the answer as the AWS SDK
// for Python shows it, which is the form of the records: absent members are
// absent, an error is Error.Code and Error.Message.
func (c clients) invoke(ctx context.Context, service, operation string, params map[string]any) (map[string]any, error) {
	client, err := c.service(service)
	if err != nil {
		return nil, err
	}
	method := reflect.ValueOf(client).MethodByName(operation)
	if !method.IsValid() {
		return nil, fmt.Errorf("the SDK has no %s.%s", service, operation)
	}
	ctx, x := withExchange(ctx)
	input := reflect.New(method.Type().In(1).Elem())
	f := filler{operation: operation}
	f.fill(input.Elem(), params, nil)
	x.edits = f.edits
	var out []reflect.Value
	for range 4 { // at most so many members in a path
		out = method.Call([]reflect.Value{reflect.ValueOf(ctx), input})
		err, _ = out[1].Interface().(error)
		var refused *smithy.SerializationError
		if !errors.As(err, &refused) {
			break
		}
		m := unsendable.FindStringSubmatch(err.Error())
		if m == nil {
			break
		}
		f.fill(input.Elem(), map[string]any{m[1]: emptyMember}, nil)
	}
	if err != nil {
		return errorView(err, x)
	}
	if x.status == 0 {
		return nil, errors.New("the SDK sent nothing")
	}
	var view any
	if service == "apigateway" {
		var body any = map[string]any{}
		if len(x.body) > 0 {
			if err := json.Unmarshal(x.body, &body); err != nil {
				return nil, fmt.Errorf("the answer's body: %w", err)
			}
		}
		view, err = restView(body, out[0].Type())
	} else {
		view = structView(out[0].Elem())
	}
	if err != nil {
		return nil, err
	}
	answer, ok := view.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the answer is no object but %T", view)
	}
	answer["ResponseMetadata"] = metadata(x.status)
	return answer, nil
}

func metadata(status int) map[string]any {
	return map[string]any{"HTTPHeaders": map[string]any{}, "HTTPStatusCode": float64(status)}
}

// errorView shows an error answer. The members of an error that the service's
// model knows stand beside it.
func errorView(err error, x *exchange) (map[string]any, error) {
	var api smithy.APIError
	var response *smithyhttp.ResponseError
	if !errors.As(err, &api) || !errors.As(err, &response) {
		return nil, err
	}
	answer := map[string]any{
		"Error":            map[string]any{"Code": api.ErrorCode(), "Message": api.ErrorMessage()},
		"ResponseMetadata": metadata(response.HTTPStatusCode()),
	}
	var generic *smithy.GenericAPIError
	if errors.As(err, &generic) {
		return answer, nil
	}
	var body map[string]any
	if json.Unmarshal(x.body, &body) == nil && body["message"] != nil {
		answer["message"] = body["message"]
	}
	return answer, nil
}

// filler fills an SDK input from parameters and notes what it can't hold.
type filler struct {
	operation string
	edits     []edit
}

func (f *filler) edit(path []string, value any) {
	if len(path) == 1 {
		if name, ok := renamed[f.operation+"."+path[0]]; ok {
			path = []string{name}
		}
	}
	f.edits = append(f.edits, edit{path: append([]string(nil), path...), value: value})
}

// fill puts params into a struct: members are matched whatever their case.
func (f *filler) fill(into reflect.Value, params map[string]any, path []string) {
	for name, value := range params {
		at := append(path[:len(path):len(path)], name)
		field := into.FieldByNameFunc(func(s string) bool { return strings.EqualFold(s, name) })
		if !field.IsValid() || !field.CanSet() || value == nil {
			f.edit(at, value)
			continue
		}
		f.assign(field, value, at)
	}
}

// assign puts a value into a member.
func (f *filler) assign(field reflect.Value, value any, path []string) {
	switch field.Kind() {
	case reflect.Pointer:
		fresh := reflect.New(field.Type().Elem())
		if scalar(fresh.Elem().Kind()) {
			if !put(fresh.Elem(), value) {
				f.edit(path, value)
				return
			}
		} else {
			f.assign(fresh.Elem(), value, path)
		}
		field.Set(fresh)
	case reflect.Struct:
		if members, ok := value.(map[string]any); ok {
			f.fill(field, members, path)
		} else {
			f.edit(path, value)
		}
	case reflect.Map:
		f.assignMap(field, value, path)
	case reflect.Slice:
		f.assignSlice(field, value, path)
	default:
		// Without a pointer the SDK takes a zero value for nothing.
		if !put(field, value) || field.IsZero() {
			f.edit(path, value)
		}
	}
}

func (f *filler) assignMap(field reflect.Value, value any, path []string) {
	entries, ok := value.(map[string]any)
	if !ok {
		f.edit(path, value)
		return
	}
	field.Set(reflect.MakeMap(field.Type()))
	for k, v := range entries {
		element := reflect.New(field.Type().Elem()).Elem()
		at := append(path[:len(path):len(path)], k)
		switch {
		case v == nil, scalar(element.Kind()) && !put(element, v):
			f.edit(at, v)
			continue
		case !scalar(element.Kind()):
			f.assign(element, v, at)
		}
		field.SetMapIndex(reflect.ValueOf(k), element)
	}
}

func (f *filler) assignSlice(field reflect.Value, value any, path []string) {
	if text, ok := value.(string); ok && field.Type().Elem().Kind() == reflect.Uint8 {
		field.SetBytes([]byte(text))
		return
	}
	elements, ok := value.([]any)
	if !ok {
		f.edit(path, value)
		return
	}
	field.Set(reflect.MakeSlice(field.Type(), len(elements), len(elements)))
	for i, v := range elements {
		at := append(path[:len(path):len(path)], strconv.Itoa(i))
		element := field.Index(i)
		switch {
		case v == nil, scalar(element.Kind()) && !put(element, v):
			f.edit(at, v)
		case !scalar(element.Kind()):
			f.assign(element, v, at)
		}
	}
}

// put sets a scalar if the value is of its type.
func put(field reflect.Value, value any) bool {
	switch v := value.(type) {
	case string:
		if field.Kind() == reflect.String {
			field.SetString(v)
			return true
		}
	case bool:
		if field.Kind() == reflect.Bool {
			field.SetBool(v)
			return true
		}
	case float64:
		switch {
		case field.CanInt() && v == float64(int64(v)):
			field.SetInt(int64(v))
			return true
		case field.CanFloat():
			field.SetFloat(v)
			return true
		}
	}
	return false
}

func scalar(k reflect.Kind) bool {
	switch k {
	case reflect.Struct, reflect.Map, reflect.Slice, reflect.Pointer:
		return false
	}
	return true
}
