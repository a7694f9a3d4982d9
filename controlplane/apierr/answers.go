package apierr

import (
	"net/http"

	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
)

// answer is one row of a protocol's table.
type answer struct {
	status int
	code   string
}

// restJSON is API Gateway's table.
var restJSON = [kinds]answer{
	KindInternal:        {http.StatusInternalServerError, "InternalServerErrorException"},
	KindInvalid:         {http.StatusBadRequest, "BadRequestException"},
	KindValidation:      {http.StatusBadRequest, "ValidationException"},
	KindSerialization:   {http.StatusBadRequest, "SerializationException"},
	KindNotFound:        {http.StatusNotFound, "NotFoundException"},
	KindConflict:        {http.StatusConflict, "ConflictException"},
	KindLimit:           {http.StatusTooManyRequests, "LimitExceededException"},
	KindTooMany:         {http.StatusTooManyRequests, "TooManyRequestsException"},
	KindUnauthenticated: {http.StatusForbidden, "MissingAuthenticationTokenException"},
	KindUnauthorized:    {http.StatusUnauthorized, "UnauthorizedException"},
	KindAccessDenied:    {http.StatusForbidden, "AccessDeniedException"},
	KindTooLarge:        {http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException"},
	KindUnavailable:     {http.StatusServiceUnavailable, "ServiceUnavailableException"},
	KindUnsupported:     {http.StatusNotImplemented, "NotImplementedException"},
	KindDryRun:          {http.StatusPreconditionFailed, "DryRunOperation"},
	KindExists:          {http.StatusConflict, "ConflictException"},
}

// ec2Query is EC2's table: whatever the client did wrong is 400, also what
// does not exist.
var ec2Query = [kinds]answer{
	KindInternal:        {http.StatusInternalServerError, "InternalError"},
	KindInvalid:         {http.StatusBadRequest, "InvalidParameterValue"},
	KindValidation:      {http.StatusBadRequest, "InvalidParameterValue"},
	KindSerialization:   {http.StatusBadRequest, "InvalidParameterValue"},
	KindNotFound:        {http.StatusBadRequest, "InvalidID"},
	KindConflict:        {http.StatusBadRequest, "IncorrectState"},
	KindLimit:           {http.StatusBadRequest, "ResourceLimitExceeded"},
	KindTooMany:         {http.StatusServiceUnavailable, "RequestLimitExceeded"},
	KindUnauthenticated: {http.StatusForbidden, "AuthFailure"},
	KindUnauthorized:    {http.StatusForbidden, "UnauthorizedOperation"},
	KindAccessDenied:    {http.StatusForbidden, "UnauthorizedOperation"},
	KindTooLarge:        {http.StatusRequestEntityTooLarge, "RequestEntityTooLarge"},
	KindUnavailable:     {http.StatusServiceUnavailable, "Unavailable"},
	KindUnsupported:     {http.StatusNotImplemented, "NotImplemented"},
	KindDryRun:          {http.StatusPreconditionFailed, "DryRunOperation"},
	KindExists:          {http.StatusBadRequest, "IncorrectState"},
}

// query is the table of STS and its like.
var query = [kinds]answer{
	KindInternal:        {http.StatusInternalServerError, "InternalFailure"},
	KindInvalid:         {http.StatusBadRequest, "ValidationError"},
	KindValidation:      {http.StatusBadRequest, "ValidationError"},
	KindSerialization:   {http.StatusBadRequest, "MalformedInput"},
	KindNotFound:        {http.StatusNotFound, "NoSuchEntity"},
	KindConflict:        {http.StatusConflict, "ConcurrentModification"},
	KindLimit:           {http.StatusConflict, "LimitExceeded"},
	KindTooMany:         {http.StatusBadRequest, "Throttling"},
	KindUnauthenticated: {http.StatusForbidden, "MissingAuthenticationToken"},
	KindUnauthorized:    {http.StatusForbidden, "AccessDenied"},
	KindAccessDenied:    {http.StatusForbidden, "AccessDenied"},
	KindTooLarge:        {http.StatusRequestEntityTooLarge, "RequestEntityTooLarge"},
	KindUnavailable:     {http.StatusServiceUnavailable, "ServiceUnavailable"},
	KindUnsupported:     {http.StatusNotImplemented, "NotImplemented"},
	KindDryRun:          {http.StatusPreconditionFailed, "DryRunOperation"},
	KindExists:          {http.StatusConflict, "EntityAlreadyExists"},
}

// restXML is Route 53's table.
var restXML = [kinds]answer{
	KindInternal:        {http.StatusInternalServerError, "InternalFailure"},
	KindInvalid:         {http.StatusBadRequest, "InvalidInput"},
	KindValidation:      {http.StatusBadRequest, "InvalidInput"},
	KindSerialization:   {http.StatusBadRequest, "MalformedXML"},
	KindNotFound:        {http.StatusNotFound, "NoSuchChange"},
	KindConflict:        {http.StatusBadRequest, "PriorRequestNotComplete"},
	KindLimit:           {http.StatusBadRequest, "LimitsExceeded"},
	KindTooMany:         {http.StatusBadRequest, "Throttling"},
	KindUnauthenticated: {http.StatusForbidden, "MissingAuthenticationToken"},
	KindUnauthorized:    {http.StatusForbidden, "AccessDenied"},
	KindAccessDenied:    {http.StatusForbidden, "AccessDenied"},
	KindTooLarge:        {http.StatusRequestEntityTooLarge, "RequestEntityTooLarge"},
	KindUnavailable:     {http.StatusServiceUnavailable, "ServiceUnavailable"},
	KindUnsupported:     {http.StatusNotImplemented, "NotImplemented"},
	KindDryRun:          {http.StatusPreconditionFailed, "DryRunOperation"},
	KindExists:          {http.StatusConflict, "HostedZoneAlreadyExists"},
}

// Answer returns the HTTP status and the exception name that a protocol has
// for the error. Code, where there is one, is the name; the status is always
// the table's.
func (e *Error) Answer(protocol awsv1.Protocol_Kind) (status int, code string) {
	table := &restJSON
	switch protocol {
	case awsv1.Protocol_KIND_EC2_QUERY:
		table = &ec2Query
	case awsv1.Protocol_KIND_QUERY:
		table = &query
	case awsv1.Protocol_KIND_REST_XML:
		table = &restXML
	}
	kind := e.Kind
	if kind < 0 || kind >= kinds {
		kind = KindInternal
	}
	row := table[kind]
	if e.Code != "" {
		row.code = e.Code
	}
	return row.status, row.code
}
