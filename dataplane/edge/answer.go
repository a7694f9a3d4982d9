package edge

// verdict is how the decision about a request ended. Every verdict but allowed
// is answered by the edge itself.
type verdict uint8

const (
	allowed verdict = iota
	unready
	stale
	unknownAPI
	wrongVantage
	wrongRegion
	unknownStage
	endpointDisabled
	noRoute
	missingToken
	badAuthorization
	badSignature
	unknownKey
	expiredToken
	authorizerBroken
	policyDeny
	policySilent
	endpointDeny
	endpointSilent
	identityDeny
	identitySilent
	boundaryDeny
	boundarySilent
	sessionDeny
	sessionSilent
	arnTooLong
	// After the decision.
	noAPIKey
	throttled
	headersTooLong
	urlTooLong
	bodyTooLong
	missingParameters
	bodyInvalid
	misconfigured
	mediaType
	backendTimeout
	backendNetwork
	responseTooLong

	numVerdicts
)

// firstFault begins the verdicts that are no decision: the request was let pass.
const firstFault = misconfigured

// answer is a gateway response (data-plane.md §8, private-apis.md §6). The
// spaces in the bodies are AWS's: answers of the front have none after the
// colon, those that involve the integration have one.
type answer struct {
	status    int
	errorType string
	body      string // empty: made for each request
	// result is the value of the label in postern_edge_decisions_total.
	result string
}

const (
	bodyForbidden = `{"message":"Forbidden"}`
	bodyInternal  = `{"message": "Internal server error"}`
)

var answers = [numVerdicts]answer{
	allowed:           {result: "allow"},
	unready:           {403, "ForbiddenException", bodyForbidden, "unready"},
	stale:             {403, "ForbiddenException", bodyForbidden, "stale"},
	unknownAPI:        {403, "ForbiddenException", bodyForbidden, "forbidden"},
	wrongVantage:      {403, "ForbiddenException", bodyForbidden, "forbidden"},
	wrongRegion:       {403, "ForbiddenException", bodyForbidden, "forbidden"},
	unknownStage:      {403, "ForbiddenException", bodyForbidden, "forbidden"},
	endpointDisabled:  {403, "ForbiddenException", bodyForbidden, "forbidden"},
	noRoute:           {403, "MissingAuthenticationTokenException", `{"message":"Missing Authentication Token"}`, "no_route"},
	missingToken:      {403, "MissingAuthenticationTokenException", `{"message":"Missing Authentication Token"}`, "unauthenticated"},
	badAuthorization:  {403, "IncompleteSignatureException", "", "unauthenticated"},
	badSignature:      {403, "InvalidSignatureException", "", "unauthenticated"},
	unknownKey:        {403, "UnrecognizedClientException", `{"message":"The security token included in the request is invalid."}`, "unauthenticated"},
	expiredToken:      {403, "ExpiredTokenException", `{"message":"The security token included in the request is expired"}`, "unauthenticated"},
	authorizerBroken:  {500, "AuthorizerConfigurationException", `{"message":null}`, "authorizer"},
	policyDeny:        {403, "AccessDeniedException", "", "explicit_deny"},
	policySilent:      {403, "AccessDeniedException", "", "implicit_deny"},
	endpointDeny:      {403, "AccessDeniedException", "", "endpoint_explicit_deny"},
	endpointSilent:    {403, "AccessDeniedException", "", "endpoint_implicit_deny"},
	identityDeny:      {403, "AccessDeniedException", "", "identity_explicit_deny"},
	identitySilent:    {403, "AccessDeniedException", "", "identity_implicit_deny"},
	boundaryDeny:      {403, "AccessDeniedException", "", "boundary_explicit_deny"},
	boundarySilent:    {403, "AccessDeniedException", "", "boundary_implicit_deny"},
	sessionDeny:       {403, "AccessDeniedException", "", "session_explicit_deny"},
	sessionSilent:     {403, "AccessDeniedException", "", "session_implicit_deny"},
	arnTooLong:        {414, "", `{"message":"Request URI too long"}`, "too_long"},
	noAPIKey:          {403, "ForbiddenException", bodyForbidden, "api_key"},
	throttled:         {429, "TooManyRequestsException", `{"message":"Too Many Requests"}`, "throttled"},
	headersTooLong:    {431, "", `{"message":"Request Header Fields Too Large"}`, "too_long"},
	urlTooLong:        {414, "", `{"message":"Request URI too long"}`, "too_long"},
	bodyTooLong:       {413, "RequestTooLargeException", `{"message":"Request Too Long"}`, "too_long"},
	missingParameters: {400, "BadRequestException", "", "invalid"},
	bodyInvalid:       {400, "BadRequestException", `{"message": "Invalid request body"}`, "invalid"},
	misconfigured:     {500, "InternalServerErrorException", bodyInternal, "allow"},
	mediaType:         {415, "BadRequestException", `{"message": "Unsupported Media Type"}`, "allow"},
	backendTimeout:    {504, "InternalServerErrorException", `{"message": "Endpoint request timed out"}`, "allow"},
	backendNetwork:    {504, "InternalServerErrorException", `{"message": "Network error communicating with endpoint"}`, "allow"},
	responseTooLong:   {500, "InternalServerErrorException", bodyInternal, "allow"},
}

// reasons say in the log why a request was refused.
var reasons = [numVerdicts]string{
	unready:           "there is no snapshot",
	stale:             "the snapshot is older than max-staleness",
	unknownAPI:        "no name in the request is that of an API",
	wrongVantage:      "the API is not served on the side that the request came from",
	wrongRegion:       "the name in the request is of another region",
	unknownStage:      "the API has no such stage",
	endpointDisabled:  "the API's default endpoint is disabled",
	noRoute:           "no resource has this path and method",
	missingToken:      "the method wants a signature",
	badAuthorization:  "the signature is not complete",
	badSignature:      "the signature does not hold",
	unknownKey:        "nobody has the access key, or not with this session token",
	expiredToken:      "the session has ended",
	authorizerBroken:  "authorizers are not available yet",
	policyDeny:        "the resource policy denies",
	policySilent:      "the resource policy does not allow",
	endpointDeny:      "the endpoint policy denies",
	endpointSilent:    "the endpoint policy does not allow",
	identityDeny:      "a policy of the caller denies",
	identitySilent:    "no policy of the caller allows",
	boundaryDeny:      "the caller's permissions boundary denies",
	boundarySilent:    "the caller's permissions boundary does not allow",
	sessionDeny:       "a session policy denies",
	sessionSilent:     "no session policy allows",
	arnTooLong:        "the ARN of the request is too long",
	noAPIKey:          "the method wants an API key",
	throttled:         "too many requests",
	headersTooLong:    "the headers are too long",
	urlTooLong:        "the URL is too long",
	bodyTooLong:       "the body is too long",
	missingParameters: "required parameters are missing",
	bodyInvalid:       "the body does not fit its model",
	misconfigured:     "the integration can't be carried out",
	mediaType:         "no template fits the content type",
	backendTimeout:    "the backend did not answer in time",
	backendNetwork:    "the backend could not be reached",
	responseTooLong:   "the backend's response is too long",
}
