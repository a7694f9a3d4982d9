package conformance

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPatchPaths sends every path that AWS documents as patchable in the APIs
// Postern has, and looks for what it did in the answer. Rows build on those above.
func TestPatchPaths(t *testing.T) {
	f := newFixture(t)
	f.keep("validator", "id", "CreateRequestValidator", params{"restApiId": "{api}", "name": "v"})
	f.keep("", "", "CreateModel", params{"restApiId": "{api}", "name": "Pet", "contentType": "application/json", "schema": `{"type":"object"}`})
	f.keep("", "", "PutMethod", params{"restApiId": "{api}", "resourceId": "{pets}", "httpMethod": "POST", "authorizationType": "NONE"})
	f.keep("", "", "PutIntegration", params{
		"restApiId": "{api}", "resourceId": "{pets}", "httpMethod": "POST", "type": "HTTP", "integrationHttpMethod": "POST", "uri": "https://example.com/pets",
	})
	f.keep("", "", "PutMethodResponse", params{"restApiId": "{api}", "resourceId": "{pets}", "httpMethod": "POST", "statusCode": "200"})
	f.keep("", "", "PutIntegrationResponse", params{"restApiId": "{api}", "resourceId": "{pets}", "httpMethod": "POST", "statusCode": "200"})
	f.keep("second", "id", "CreateDeployment", params{"restApiId": "{api}"})

	api := params{"restApiId": "{api}"}
	resource := params{"restApiId": "{api}", "resourceId": "{pets}"}
	method := params{"restApiId": "{api}", "resourceId": "{pets}", "httpMethod": "POST"}
	response := params{"restApiId": "{api}", "resourceId": "{pets}", "httpMethod": "POST", "statusCode": "200"}
	stage := params{"restApiId": "{api}", "stageName": "prod"}
	const gone = "" // no such member
	for _, tc := range []struct {
		operation string
		of        params
		patch     string
		member    string
		want      any
	}{
		{"UpdateRestApi", api, "replace /name other", "name", "other"},
		{"UpdateRestApi", api, "replace /description words", "description", "words"},
		{"UpdateRestApi", api, "remove /description", "description", gone},
		{"UpdateRestApi", api, "replace /apiKeySource AUTHORIZER", "apiKeySource", "AUTHORIZER"},
		{"UpdateRestApi", api, "add /binaryMediaTypes/image~1png", "binaryMediaTypes", []any{"image/png"}},
		{"UpdateRestApi", api, "replace /binaryMediaTypes/image~1png image/gif", "binaryMediaTypes", []any{"image/gif"}},
		{"UpdateRestApi", api, "remove /binaryMediaTypes/image~1gif", "binaryMediaTypes", gone},
		{"UpdateRestApi", api, "replace /minimumCompressionSize 0", "minimumCompressionSize", 0.0},
		{"UpdateRestApi", api, "replace /minimumCompressionSize", "minimumCompressionSize", gone},
		{"UpdateRestApi", api, "replace /disableExecuteApiEndpoint True", "disableExecuteApiEndpoint", true},
		{"UpdateRestApi", api, "replace /endpointConfiguration/types/EDGE REGIONAL", "endpointConfiguration.types", []any{"REGIONAL"}},
		{"UpdateRestApi", api, "replace /endpointConfiguration/ipAddressType dualstack", "endpointConfiguration.ipAddressType", "dualstack"},
		{"UpdateRestApi", api, "replace /endpointConfiguration/types/0 PRIVATE", "endpointConfiguration", map[string]any{"types": []any{"PRIVATE"}, "ipAddressType": "dualstack"}},

		{"UpdateResource", resource, "replace /pathPart animals", "path", "/animals"},
		{"UpdateResource", resource, "replace /parentId {files}", "parentId", "{files}"},

		{"UpdateMethod", method, "replace /authorizationType AWS_IAM", "authorizationType", "AWS_IAM"},
		{"UpdateMethod", method, "replace /apiKeyRequired true", "apiKeyRequired", true},
		{"UpdateMethod", method, "replace /apiKeyRequired junk", "apiKeyRequired", false},
		{"UpdateMethod", method, "replace /operationName addPet", "operationName", "addPet"},
		{"UpdateMethod", method, "replace /requestValidatorId {validator}", "requestValidatorId", "{validator}"},
		{"UpdateMethod", method, "replace /requestValidatorId ", "requestValidatorId", gone},
		{"UpdateMethod", method, "add /requestParameters/method.request.header.a true", "requestParameters", map[string]any{"method.request.header.a": true}},
		{"UpdateMethod", method, "replace /requestParameters/method.request.header.a false", "requestParameters", map[string]any{"method.request.header.a": false}},
		{"UpdateMethod", method, "remove /requestParameters/method.request.header.a", "requestParameters", gone},
		{"UpdateMethod", method, "add /requestModels/application~1json Pet", "requestModels", map[string]any{"application/json": "Pet"}},
		{"UpdateMethod", method, "replace /requestModels/application~1json Empty", "requestModels", map[string]any{"application/json": "Empty"}},
		{"UpdateMethod", method, "remove /requestModels/application~1json", "requestModels", gone},

		{"UpdateMethodResponse", response, "add /responseParameters/method.response.header.a true", "responseParameters", map[string]any{"method.response.header.a": true}},
		{"UpdateMethodResponse", response, "replace /responseParameters/method.response.header.a false", "responseParameters", map[string]any{"method.response.header.a": false}},
		{"UpdateMethodResponse", response, "add /responseModels/application~1json Pet", "responseModels", map[string]any{"application/json": "Pet"}},
		{"UpdateMethodResponse", response, "replace /responseModels/application~1json Empty", "responseModels", map[string]any{"application/json": "Empty"}},
		{"UpdateMethodResponse", response, "remove /responseModels/application~1json", "responseModels", gone},

		{"UpdateIntegration", method, "replace /uri https://example.com/x", "uri", "https://example.com/x"},
		{"UpdateIntegration", method, "replace /httpMethod PUT", "httpMethod", "PUT"},
		{"UpdateIntegration", method, "replace /passthroughBehavior NEVER", "passthroughBehavior", "NEVER"},
		{"UpdateIntegration", method, "replace /cacheNamespace ns", "cacheNamespace", "ns"},
		{"UpdateIntegration", method, "replace /timeoutInMillis 1000", "timeoutInMillis", 1000.0},
		{"UpdateIntegration", method, "replace /contentHandling CONVERT_TO_TEXT", "contentHandling", "CONVERT_TO_TEXT"},
		{"UpdateIntegration", method, "remove /contentHandling", "contentHandling", gone},
		{"UpdateIntegration", method, "add /requestParameters/integration.request.header.b 'static'", "requestParameters", map[string]any{"integration.request.header.b": "'static'"}},
		{"UpdateIntegration", method, "remove /requestParameters/integration.request.header.b", "requestParameters", gone},
		{"UpdateIntegration", method, "add /requestTemplates/application~1json {}", "requestTemplates", map[string]any{"application/json": "{}"}},
		{"UpdateIntegration", method, "remove /requestTemplates/application~1json", "requestTemplates", gone},
		{"UpdateIntegration", method, "replace /tlsConfig/insecureSkipVerification true", "tlsConfig", map[string]any{"insecureSkipVerification": true}},
		{"UpdateIntegration", method, "replace /type HTTP_PROXY", "type", "HTTP_PROXY"},

		{"UpdateIntegrationResponse", response, `replace /selectionPattern 2\d\d`, "selectionPattern", `2\d\d`},
		{"UpdateIntegrationResponse", response, "replace /contentHandling CONVERT_TO_BINARY", "contentHandling", "CONVERT_TO_BINARY"},
		{"UpdateIntegrationResponse", response, "remove /contentHandling", "contentHandling", gone},
		{"UpdateIntegrationResponse", response, "add /responseParameters/method.response.header.a 'x'", "responseParameters", map[string]any{"method.response.header.a": "'x'"}},
		{"UpdateIntegrationResponse", response, "remove /responseParameters/method.response.header.a", "responseParameters", gone},
		{"UpdateIntegrationResponse", response, "add /responseTemplates/application~1json {}", "responseTemplates", map[string]any{"application/json": "{}"}},
		{"UpdateIntegrationResponse", response, "remove /responseTemplates/application~1json", "responseTemplates", gone},
		{"UpdateMethodResponse", response, "remove /responseParameters/method.response.header.a", "responseParameters", gone},

		{"UpdateStage", stage, "replace /deploymentId {second}", "deploymentId", "{second}"},
		{"UpdateStage", stage, "replace /description words", "description", "words"},
		{"UpdateStage", stage, "replace /tracingEnabled true", "tracingEnabled", true},
		{"UpdateStage", stage, "replace /variables/lb 10.0.0.1", "variables", map[string]any{"lb": "10.0.0.1"}},
		{"UpdateStage", stage, "remove /variables/lb", "variables", gone},
		{"UpdateStage", stage, "replace /accessLogSettings/format $context.requestId", "accessLogSettings", map[string]any{"format": "$context.requestId"}},
		{"UpdateStage", stage, "remove /accessLogSettings", "accessLogSettings", gone},
		{"UpdateStage", stage, "replace /*/*/throttling/burstLimit 10", "methodSettings.*/*.throttlingBurstLimit", 10.0},
		{"UpdateStage", stage, "replace /*/*/throttling/rateLimit 1.5", "methodSettings.*/*.throttlingRateLimit", 1.5},
		{"UpdateStage", stage, "replace /*/*/metrics/enabled true", "methodSettings.*/*.metricsEnabled", true},
		{"UpdateStage", stage, "replace /*/*/logging/dataTrace true", "methodSettings.*/*.dataTraceEnabled", true},
		{"UpdateStage", stage, "replace /*/*/logging/loglevel INFO", "methodSettings.*/*.loggingLevel", "INFO"},
		{"UpdateStage", stage, "replace /*/*/caching/enabled true", "methodSettings.*/*.cachingEnabled", true},
		{"UpdateStage", stage, "replace /*/*/caching/ttlInSeconds 5", "methodSettings.*/*.cacheTtlInSeconds", 5.0},
		{"UpdateStage", stage, "replace /*/*/caching/dataEncrypted true", "methodSettings.*/*.cacheDataEncrypted", true},
		{"UpdateStage", stage, "replace /*/*/caching/requireAuthorizationForCacheControl false", "methodSettings.*/*.requireAuthorizationForCacheControl", false},
		{"UpdateStage", stage, "replace /*/*/caching/unauthorizedCacheControlHeaderStrategy FAIL_WITH_403", "methodSettings.*/*.unauthorizedCacheControlHeaderStrategy", "FAIL_WITH_403"},
		{"UpdateStage", stage, "remove /*/*", "methodSettings", map[string]any{}},
		{"UpdateStage", stage, "replace /canarySettings/percentTraffic 12.5", "canarySettings.percentTraffic", 12.5},
		{"UpdateStage", stage, "replace /canarySettings/deploymentId {deployment}", "canarySettings.deploymentId", "{deployment}"},
		{"UpdateStage", stage, "replace /canarySettings/useStageCache true", "canarySettings.useStageCache", true},
		{"UpdateStage", stage, "replace /canarySettings/stageVariableOverrides/lb 10.0.0.2", "canarySettings.stageVariableOverrides", map[string]any{"lb": "10.0.0.2"}},
		{"UpdateStage", stage, "copy /deploymentId", "deploymentId", "{deployment}"},
		{"UpdateStage", stage, "copy /variables", "variables", map[string]any{"lb": "10.0.0.2"}},
		{"UpdateStage", stage, "remove /canarySettings", "canarySettings", gone},

		{"UpdateDeployment", params{"restApiId": "{api}", "deploymentId": "{second}"}, "replace /description words", "description", "words"},
		{"UpdateModel", params{"restApiId": "{api}", "modelName": "Pet"}, "replace /description words", "description", "words"},
		{"UpdateModel", params{"restApiId": "{api}", "modelName": "Pet"}, `replace /schema {"type":"array","items":{"type":"string"}}`, "schema", `{"type":"array","items":{"type":"string"}}`},
		{"UpdateRequestValidator", params{"restApiId": "{api}", "requestValidatorId": "{validator}"}, "replace /name w", "name", "w"},
		{"UpdateRequestValidator", params{"restApiId": "{api}", "requestValidatorId": "{validator}"}, "replace /validateRequestBody true", "validateRequestBody", true},
		{"UpdateRequestValidator", params{"restApiId": "{api}", "requestValidatorId": "{validator}"}, "replace /validateRequestParameters true", "validateRequestParameters", true},
		{"UpdateAccount", params{}, "replace /cloudwatchRoleArn arn:aws:iam::{account}:role/logs", "cloudwatchRoleArn", "arn:aws:iam::{account}:role/logs"},
	} {
		operations := patches(tc.patch)
		switch {
		case strings.HasPrefix(tc.patch, "copy /deploymentId"):
			operations[0].(params)["from"] = "/canarySettings/deploymentId"
		case strings.HasPrefix(tc.patch, "copy /variables"):
			operations[0].(params)["from"] = "/canarySettings/stageVariableOverrides"
		}
		request := params{"patchOperations": operations}
		for k, v := range tc.of {
			request[k] = v
		}
		answer, err := f.clients.invoke(t.Context(), "apigateway", tc.operation, f.fill(request).(map[string]any))
		if err != nil || answer["Error"] != nil {
			t.Errorf("%s %s: %v %v", tc.operation, tc.patch, err, answer["Error"])
			continue
		}
		var got any = answer
		for _, name := range strings.Split(tc.member, ".") {
			members, _ := got.(map[string]any)
			got = members[name]
		}
		if tc.want == gone {
			if got != nil {
				t.Errorf("%s %s: %s is %v, should be gone", tc.operation, tc.patch, tc.member, got)
			}
			continue
		}
		if diff := cmp.Diff(f.fill(tc.want), got); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", tc.operation, tc.patch, diff)
		}
	}
}
