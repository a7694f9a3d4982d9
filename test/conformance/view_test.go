package conformance

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

var timeType = reflect.TypeFor[time.Time]()

// aDate is how the records show any date.
const aDate = "datetime"

// restView reads a JSON answer by the SDK's own model of it: members that the
// model lacks and null members are dropped, a value of another type is an error.
func restView(v any, model reflect.Type) (any, error) {
	for model.Kind() == reflect.Pointer {
		model = model.Elem()
	}
	wrong := func(want string) error {
		return fmt.Errorf("the answer has %v (%T) where the SDK reads %s", v, v, want)
	}
	if model == timeType {
		if _, ok := v.(float64); !ok {
			return nil, wrong("a time")
		}
		return aDate, nil
	}
	switch model.Kind() {
	case reflect.Struct:
		members, ok := v.(map[string]any)
		if !ok {
			return nil, wrong("an object")
		}
		out := make(map[string]any)
		for name, value := range members {
			field, ok := model.FieldByNameFunc(func(s string) bool { return strings.EqualFold(s, name) })
			if !ok && name == "item" {
				field, ok = model.FieldByName("Items")
				name = "items"
			}
			if !ok || value == nil {
				continue
			}
			view, err := restView(value, field.Type)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			out[name] = view
		}
		return out, nil
	case reflect.Map:
		entries, ok := v.(map[string]any)
		if !ok {
			return nil, wrong("a map")
		}
		out := make(map[string]any)
		for k, value := range entries {
			if value == nil {
				out[k] = nil
				continue
			}
			view, err := restView(value, model.Elem())
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
			out[k] = view
		}
		return out, nil
	case reflect.Slice:
		elements, ok := v.([]any)
		if !ok {
			return nil, wrong("a list")
		}
		out := make([]any, len(elements))
		for i, value := range elements {
			var err error
			if out[i], err = restView(value, model.Elem()); err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
		}
		return out, nil
	case reflect.String:
		if _, ok := v.(string); !ok {
			return nil, wrong("a string")
		}
	case reflect.Bool:
		if _, ok := v.(bool); !ok {
			return nil, wrong("a boolean")
		}
	case reflect.Int32, reflect.Int64:
		if n, ok := v.(float64); !ok || n != float64(int64(n)) {
			return nil, wrong("an integer")
		}
	}
	return v, nil
}

// structView shows an SDK output whose protocol tells absent from empty (EC2
// and STS: every member is a pointer, an enumeration, or a list).
func structView(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer:
		return structView(v.Elem())
	case reflect.Struct:
		if v.Type() == timeType {
			return aDate
		}
		out := make(map[string]any)
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if !field.IsExported() || field.Name == "ResultMetadata" || v.Field(i).IsZero() {
				continue
			}
			out[field.Name] = structView(v.Field(i))
		}
		return out
	case reflect.Slice:
		out := make([]any, v.Len())
		for i := range v.Len() {
			out[i] = structView(v.Index(i))
		}
		return out
	case reflect.String:
		return v.String()
	case reflect.Int32, reflect.Int64:
		return float64(v.Int())
	}
	return v.Interface()
}
