package conformance

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// javascripts are the two generations of the SDK.
var javascripts = []string{"v2", "v3"}

type javascriptAPI struct {
	ID, Name, Description, Version, CreatedDate, APIKeySource string
	EndpointConfiguration                                     struct {
		Types          []string
		VPCEndpointIDs []string
	}
}

// createWithJavaScript makes the seed document's call and judges the answer.
func createWithJavaScript(t *testing.T, sdk string) {
	t.Helper()
	var facts struct {
		Made, Read javascriptAPI
		Dates      bool
		AgeSeconds float64
	}
	node(t, sdk, cluster(t).API, account(), &facts, "create")
	made := facts.Made
	if len(made.ID) != 10 {
		t.Errorf("id %q: want 10 characters", made.ID)
	}
	if !facts.Dates {
		t.Errorf("createdDate is no Date: %s", made.CreatedDate)
	}
	if facts.AgeSeconds < -5 || facts.AgeSeconds > 300 {
		t.Errorf("createdDate %s is %v seconds old", made.CreatedDate, facts.AgeSeconds)
	}
	if made.Version != "0.00.001" || made.Name != "Simple PetStore (node.js SDK, private)" ||
		made.Description != "Demo private API created using the AWS SDK for node.js" || made.APIKeySource != "HEADER" {
		t.Errorf("made %+v", made)
	}
	if diff := cmp.Diff([]string{"PRIVATE"}, made.EndpointConfiguration.Types); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(made, facts.Read); diff != "" {
		t.Errorf("read back (-made +read):\n%s", diff)
	}
}

// S16: an API can be created with the AWS SDK for JavaScript.
func TestS16_CreateWithJavaScript(t *testing.T) {
	t.Parallel()
	createWithJavaScript(t, "v2")
}

// S43: the seed document's call, by both generations of the SDK.
func TestS43_CreateRestApiByJavaScriptSDKs(t *testing.T) {
	for _, sdk := range javascripts {
		t.Run(sdk, func(t *testing.T) {
			t.Parallel()
			createWithJavaScript(t, sdk)
		})
	}
}

// Errors reach the SDKs with their names, texts, status and request id.
func TestJavaScriptErrors(t *testing.T) {
	for _, sdk := range javascripts {
		t.Run(sdk, func(t *testing.T) {
			t.Parallel()
			var facts struct {
				Error, Message string
				Status         int
				Request        bool
			}
			node(t, sdk, cluster(t).API, account(), &facts, "fail")
			if facts.Error != "BadRequestException" || facts.Status != 400 || !facts.Request ||
				facts.Message != "Cannot create an api with multiple Endpoint Types." {
				t.Errorf("the error: %+v", facts)
			}
		})
	}
}

// The EC2 side of the SDKs reads endpoints, their dates and their empty lists.
func TestJavaScriptEndpoints(t *testing.T) {
	for _, sdk := range javascripts {
		t.Run(sdk, func(t *testing.T) {
			t.Parallel()
			who := account()
			endpoints := makeEndpoints(t, newClients(cluster(t).API, who, "us-west-2"), 1)
			var facts struct {
				State, Type, Service string
				PrivateDNS, Date     bool
				Subnets, Interfaces  int
				Names, RouteTables   []string
			}
			node(t, sdk, cluster(t).API, who, &facts, "endpoints", endpoints[0])
			if facts.State != "available" || facts.Type != "Interface" || facts.Service != "com.amazonaws.us-west-2.execute-api" ||
				!facts.PrivateDNS || !facts.Date || facts.Subnets != 1 || facts.Interfaces != 1 || facts.RouteTables == nil {
				t.Errorf("the endpoint: %+v", facts)
			}
			if len(facts.Names) < 2 || !strings.HasPrefix(facts.Names[0], endpoints[0]+"-") {
				t.Errorf("names %v", facts.Names)
			}
		})
	}
}
