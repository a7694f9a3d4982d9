package service

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
)

type stageTable = patchTable[*apigatewayv1.Stage]

// allMethods is the key of the settings that a method without settings of its
// own starts from.
const allMethods = "*/*"

// stagePatch is the PATCH of a stage.
func stagePatch(deploymentExists func(id string) bool) *stageTable {
	type stage = *apigatewayv1.Stage
	variables := stringEntries(func(s stage) **awsv1.StringMap { return &s.Variables })
	variables.upsert = true
	variables.missing = nothingToRemove
	overrides := stringEntries(func(s stage) **awsv1.StringMap { return &s.CanarySettings.StageVariableOverrides })
	overrides.upsert = true
	overrides.missing = nothingToRemove
	rows := []patchRow[stage]{
		{"/deploymentId", opsReplace, func(s stage, p *patch) error {
			if !deploymentExists(p.value) {
				return errUnknownDeployment()
			}
			s.DeploymentId = new(p.value)
			return nil
		}},
		{"/deploymentId", opsCopy, promote(func(s stage, canary *apigatewayv1.CanarySettings) {
			s.DeploymentId = canary.DeploymentId
		})},
		{"/variables", opsCopy, promote(func(s stage, canary *apigatewayv1.CanarySettings) {
			if len(canary.GetStageVariableOverrides().GetEntries()) == 0 {
				return
			}
			if s.Variables == nil {
				s.Variables = &awsv1.StringMap{}
			}
			if s.Variables.Entries == nil {
				s.Variables.Entries = make(map[string]string)
			}
			maps.Copy(s.Variables.Entries, canary.GetStageVariableOverrides().GetEntries())
		})},
		{"/description", opsReplace, setString(func(s stage) **string { return &s.Description })},
		{"/clientCertificateId", opsReplace, setString(func(s stage) **string { return &s.ClientCertificateId })},
		{"/documentationVersion", opsReplace, setString(func(s stage) **string { return &s.DocumentationVersion })},
		{"/tracingEnabled", opsReplace, setBool(func(s stage) **bool { return &s.TracingEnabled })},
		{"/cacheClusterEnabled", opsReplace, func(s stage, p *patch) error {
			setCache(s, isTrue(p.value), s.GetCacheClusterSize())
			return nil
		}},
		{"/cacheClusterSize", opsReplace, setString(func(s stage) **string { return &s.CacheClusterSize })},
		{"/variables/{}", opsEdit, variables.apply},
		{"/accessLogSettings", opsRemove, func(s stage, _ *patch) error {
			s.AccessLogSettings = nil
			return nil
		}},
		{"/accessLogSettings/{}", opsAddReplace, patchAccessLog},
		{"/canarySettings", opsRemove, func(s stage, _ *patch) error {
			s.CanarySettings = nil
			return nil
		}},
		{"/canarySettings/percentTraffic", opsReplace, inCanary(func(s stage, p *patch) error {
			percent, err := strconv.ParseFloat(p.value, 64)
			if err != nil {
				return checkPercent(-1)
			}
			s.CanarySettings.PercentTraffic = new(percent)
			return checkPercent(percent)
		})},
		{"/canarySettings/deploymentId", opsReplace, inCanary(func(s stage, p *patch) error {
			if !deploymentExists(p.value) {
				return errUnknownDeployment()
			}
			s.CanarySettings.DeploymentId = new(p.value)
			return nil
		})},
		{"/canarySettings/useStageCache", opsReplace, inCanary(func(s stage, p *patch) error {
			s.CanarySettings.UseStageCache = new(isTrue(p.value))
			return nil
		})},
		{"/canarySettings/stageVariableOverrides/{}", opsEdit, inCanary(overrides.apply)},
	}
	for _, setting := range methodSettings {
		rows = append(rows, patchRow[stage]{"/{...}/{}/" + setting.path, opsAddReplace, func(s stage, p *patch) error {
			return setting.set(settingsOf(s, p.raw), p.value)
		}})
	}
	// Last, since it takes any path that is nothing else.
	rows = append(rows, patchRow[stage]{"/{...}/{}", opsRemove, func(s stage, p *patch) error {
		key := strings.Join(p.raw, "/")
		if s.GetMethodSettings().GetEntries()[key] == nil {
			return nothingToRemove(p)
		}
		delete(s.MethodSettings.Entries, key)
		return nil
	}})
	return &stageTable{rows: rows, refuse: refuseStage}
}

// refuseStage words what a stage doesn't take.
func refuseStage(_ *stageTable, p *patch, ops []string) error {
	known := slices.ContainsFunc(ops, func(op string) bool { return op != "remove" })
	switch {
	case p.op == "copy":
		return apierr.BadRequest("Invalid copy operation with path: %s and from %s. Valid copy:path are [/deploymentId, /variables] and valid copy:from are [/canarySettings/deploymentId, /canarySettings/stageVariableOverrides]", p.path, p.from)
	case p.op == "remove":
		return nothingToRemove(p)
	case known:
		return apierr.BadRequest("Invalid %s operation with path: %s", p.op, p.path)
	}
	return apierr.BadRequest("Invalid method setting path: %s. Must be one of: %s", p.path, stagePaths)
}

// nothingToRemove is the answer to a remove of what isn't there, whatever it is.
func nothingToRemove(p *patch) error {
	return apierr.BadRequest("Cannot remove method setting %s because there is no method setting for this method ", strings.TrimPrefix(p.path, "/"))
}

// stagePaths is AWS's own list, its missing separators included.
const stagePaths = "[/deploymentId, /description, /cacheClusterEnabled, /cacheClusterSize, /clientCertificateId, " +
	"/accessLogSettings, /accessLogSettings/destinationArn, /accessLogSettings/format, " +
	"/{resourcePath}/{httpMethod}/metrics/enabled, /{resourcePath}/{httpMethod}/logging/dataTrace, " +
	"/{resourcePath}/{httpMethod}/logging/loglevel, /{resourcePath}/{httpMethod}/throttling/burstLimit" +
	"/{resourcePath}/{httpMethod}/throttling/rateLimit/{resourcePath}/{httpMethod}/caching/ttlInSeconds, " +
	"/{resourcePath}/{httpMethod}/caching/enabled, /{resourcePath}/{httpMethod}/caching/dataEncrypted, " +
	"/{resourcePath}/{httpMethod}/caching/requireAuthorizationForCacheControl, " +
	"/{resourcePath}/{httpMethod}/caching/unauthorizedCacheControlHeaderStrategy, " +
	"/*/*/metrics/enabled, /*/*/logging/dataTrace, /*/*/logging/loglevel, " +
	"/*/*/throttling/burstLimit /*/*/throttling/rateLimit /*/*/caching/ttlInSeconds, " +
	"/*/*/caching/enabled, /*/*/caching/dataEncrypted, /*/*/caching/requireAuthorizationForCacheControl, " +
	"/*/*/caching/unauthorizedCacheControlHeaderStrategy, /variables/{variable_name}, /tracingEnabled]"

// promote is a row's function for what a copy takes from the stage's canary.
func promote(take func(*apigatewayv1.Stage, *apigatewayv1.CanarySettings)) func(*apigatewayv1.Stage, *patch) error {
	sources := map[string]string{
		"/deploymentId": "/canarySettings/deploymentId",
		"/variables":    "/canarySettings/stageVariableOverrides",
	}
	return func(s *apigatewayv1.Stage, p *patch) error {
		if p.from != sources[p.path] {
			return refuseStage(nil, p, nil)
		}
		if s.CanarySettings == nil {
			return apierr.BadRequest("Promotion not available. Canary does not exist.")
		}
		take(s, s.CanarySettings)
		return nil
	}
}

// inCanary is a row's function for what lies in the canary settings: setting
// anything of them makes a canary.
func inCanary(apply func(*apigatewayv1.Stage, *patch) error) func(*apigatewayv1.Stage, *patch) error {
	return func(s *apigatewayv1.Stage, p *patch) error {
		if s.CanarySettings == nil {
			s.CanarySettings = newCanary(s)
		}
		return apply(s, p)
	}
}

func patchAccessLog(s *apigatewayv1.Stage, p *patch) error {
	name := p.args[0]
	if name != "destinationArn" && name != "format" {
		return apierr.BadRequest("Invalid accessLogSettings path. Must be one of : [/accessLogSettings/destinationArn, /accessLogSettings/format]")
	}
	if p.value == "" {
		return apierr.BadRequest("Access Log value must not be empty")
	}
	if s.AccessLogSettings == nil {
		s.AccessLogSettings = &apigatewayv1.AccessLogSettings{}
	}
	if name == "format" {
		s.AccessLogSettings.Format = new(p.value)
	} else {
		s.AccessLogSettings.DestinationArn = new(p.value)
	}
	return nil
}

// methodSetting is one setting of a method.
type methodSetting struct {
	path string
	set  func(m *apigatewayv1.MethodSetting, value string) error
}

var methodSettings = []methodSetting{
	{"metrics/enabled", settingBool(func(m *apigatewayv1.MethodSetting) **bool { return &m.MetricsEnabled })},
	{"logging/dataTrace", settingBool(func(m *apigatewayv1.MethodSetting) **bool { return &m.DataTraceEnabled })},
	{"logging/loglevel", settingOneOf(func(m *apigatewayv1.MethodSetting) **string { return &m.LoggingLevel }, "OFF", "ERROR", "INFO")},
	{"throttling/burstLimit", func(m *apigatewayv1.MethodSetting, value string) error {
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil || n < -1 {
			return errSetting(value)
		}
		m.ThrottlingBurstLimit = new(int32(n))
		return nil
	}},
	{"throttling/rateLimit", func(m *apigatewayv1.MethodSetting, value string) error {
		rate, err := strconv.ParseFloat(value, 64)
		if err != nil || !(rate >= -1 && rate <= 1e9) {
			return errSetting(value)
		}
		m.ThrottlingRateLimit = new(rate)
		return nil
	}},
	{"caching/enabled", settingBool(func(m *apigatewayv1.MethodSetting) **bool { return &m.CachingEnabled })},
	{"caching/ttlInSeconds", func(m *apigatewayv1.MethodSetting, value string) error {
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil || n < 0 || n > 3600 {
			return errSetting(value)
		}
		m.CacheTtlInSeconds = new(int32(n))
		return nil
	}},
	{"caching/dataEncrypted", settingBool(func(m *apigatewayv1.MethodSetting) **bool { return &m.CacheDataEncrypted })},
	{"caching/requireAuthorizationForCacheControl", settingBool(func(m *apigatewayv1.MethodSetting) **bool { return &m.RequireAuthorizationForCacheControl })},
	{"caching/unauthorizedCacheControlHeaderStrategy", settingOneOf(func(m *apigatewayv1.MethodSetting) **string { return &m.UnauthorizedCacheControlHeaderStrategy },
		"FAIL_WITH_403", "SUCCEED_WITH_RESPONSE_HEADER", "SUCCEED_WITHOUT_RESPONSE_HEADER")},
}

func errSetting(value string) error {
	return apierr.BadRequest("Invalid method setting value: %s", value)
}

func settingBool(member func(*apigatewayv1.MethodSetting) **bool) func(*apigatewayv1.MethodSetting, string) error {
	return func(m *apigatewayv1.MethodSetting, value string) error {
		*member(m) = new(isTrue(value))
		return nil
	}
}

func settingOneOf(member func(*apigatewayv1.MethodSetting) **string, valid ...string) func(*apigatewayv1.MethodSetting, string) error {
	return func(m *apigatewayv1.MethodSetting, value string) error {
		if !slices.Contains(valid, value) {
			return errSetting(value)
		}
		*member(m) = new(value)
		return nil
	}
}

// settingsOf returns the settings of a method for a change. Its key is the path
// as it was given. New settings start from those of all methods, and later
// changes of these leave them alone.
func settingsOf(s *apigatewayv1.Stage, raw []string) *apigatewayv1.MethodSetting {
	key := strings.Join(raw, "/")
	if s.MethodSettings == nil {
		s.MethodSettings = &apigatewayv1.MethodSettings{}
	}
	if s.MethodSettings.Entries == nil {
		s.MethodSettings.Entries = make(map[string]*apigatewayv1.MethodSetting)
	}
	entries := s.MethodSettings.Entries
	if entries[key] == nil {
		if all := entries[allMethods]; all != nil {
			entries[key] = proto.CloneOf(all)
		} else {
			entries[key] = defaultMethodSetting()
		}
	}
	return entries[key]
}

func defaultMethodSetting() *apigatewayv1.MethodSetting {
	return &apigatewayv1.MethodSetting{
		MetricsEnabled:                         new(false),
		DataTraceEnabled:                       new(false),
		ThrottlingBurstLimit:                   new(int32(5000)),
		ThrottlingRateLimit:                    new(10000.0),
		CachingEnabled:                         new(false),
		CacheTtlInSeconds:                      new(int32(300)),
		CacheDataEncrypted:                     new(false),
		RequireAuthorizationForCacheControl:    new(true),
		UnauthorizedCacheControlHeaderStrategy: new("SUCCEED_WITH_RESPONSE_HEADER"),
	}
}
