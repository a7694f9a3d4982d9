package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// statement is one statement of a workload, read independently of the product.
// Contenders are built from it, so it refuses whatever of the policy language
// no workload uses: what it overlooked, nobody would evaluate.
type statement struct {
	deny       bool
	principals []string // nil: everyone
	resources  []string
	conditions []condition
}

type condition struct {
	operator, key string
	values        []string
}

// onlyAction is the one action that workloads know.
const onlyAction = "execute-api:Invoke"

func readStatements(document []byte) ([]statement, error) {
	var d struct {
		Version   string
		Statement []struct {
			Sid, Effect string
			Principal   json.RawMessage
			Action      string
			Resource    list
			Condition   map[string]map[string]list
		}
	}
	dec := json.NewDecoder(bytes.NewReader(document))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	out := make([]statement, len(d.Statement))
	for i, from := range d.Statement {
		s := &out[i]
		s.deny, s.resources = from.Effect == "Deny", from.Resource
		if from.Action != onlyAction {
			return nil, fmt.Errorf("statement %d: action %s", i, from.Action)
		}
		if string(from.Principal) != `"*"` {
			var named struct{ AWS list }
			if err := json.Unmarshal(from.Principal, &named); err != nil || len(named.AWS) == 0 {
				return nil, fmt.Errorf("statement %d: principal %s", i, from.Principal)
			}
			s.principals = named.AWS
		}
		for operator, keys := range from.Condition {
			for key, values := range keys {
				if !supported(operator, key) {
					return nil, fmt.Errorf("statement %d: %s on %s", i, operator, key)
				}
				s.conditions = append(s.conditions, condition{operator, key, values})
			}
		}
		slices.SortFunc(s.conditions, func(a, b condition) int { return conditionCost(a) - conditionCost(b) })
		for _, r := range s.resources {
			if strings.ContainsAny(r, "?$") || !strings.HasPrefix(r, apiARN) {
				return nil, fmt.Errorf("statement %d: resource %s", i, r)
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("a policy without statements")
	}
	return out, nil
}

// apiARN begins every resource of every workload.
const apiARN = "arn:aws:execute-api:us-east-1:111122223333:abcde12345/"

func supported(operator, key string) bool {
	switch operator {
	case "StringEquals", "StringNotEquals":
		return key == "aws:SourceVpce" || key == "aws:SourceVpc" || key == "aws:PrincipalArn"
	case "IpAddress", "NotIpAddress":
		return key == "aws:VpcSourceIp"
	case "Bool":
		return key == "aws:SecureTransport"
	}
	return false
}

// conditionCost puts cheap conditions first, for contenders that go by the order.
func conditionCost(c condition) int {
	switch c.operator {
	case "IpAddress", "NotIpAddress":
		return len(c.values) * 10
	}
	return 1
}

// list is a string or a list of strings.
type list []string

func (l *list) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*l = make(list, 1)
		return json.Unmarshal(b, &(*l)[0])
	}
	return json.Unmarshal(b, (*[]string)(l))
}
