package gateway

import (
	"net/http"
	"strings"
)

// requestLine is the method and path of an operation that AWS has and Postern
// lacks. A segment in braces stands for any one segment.
type requestLine struct {
	method, operation string
	segments          []string
	mode              string // value that the query parameter "mode" must have
}

// requestLines are listed so that a client learns which operation is missing
// instead of being told that it has no right to it. A line that gets an RPC is
// routed before this table is asked; take it out then.
type requestLines []requestLine

// newRequestLines reads a table of "METHOD path operation" lines.
func newRequestLines(table string) requestLines {
	var lines requestLines
	for line := range strings.Lines(table) {
		words := strings.Fields(line)
		if len(words) != 3 {
			continue
		}
		path, mode, _ := strings.Cut(words[1], "?mode=")
		lines = append(lines, requestLine{method: words[0], operation: words[2], segments: segments(path), mode: mode})
	}
	return lines
}

// segments splits a path. A slash at its end makes no segment.
func segments(path string) []string {
	return strings.Split(strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/"), "/")
}

// lookup returns the name of the missing operation that r asks for, or "".
func (lines requestLines) lookup(r *http.Request) string {
	at := segments(r.URL.EscapedPath())
	for i := range lines {
		if lines[i].mode == "" && lines[i].matches(r.Method, at) {
			return lines[i].operation
		}
	}
	return ""
}

// behindQuery is lookup for lines with a mode: they share method and path with
// another operation, so they must be looked for before routing.
func (lines requestLines) behindQuery(r *http.Request) string {
	if !strings.Contains(r.URL.RawQuery, "mode") {
		return ""
	}
	mode := r.URL.Query().Get("mode")
	at := segments(r.URL.EscapedPath())
	for i := range lines {
		if lines[i].mode != "" && lines[i].mode == mode && lines[i].matches(r.Method, at) {
			return lines[i].operation
		}
	}
	return ""
}

func (l *requestLine) matches(method string, at []string) bool {
	if l.method != method || len(l.segments) != len(at) {
		return false
	}
	for i, want := range l.segments {
		if at[i] == "" || (want != at[i] && !strings.HasPrefix(want, "{")) {
			return false
		}
	}
	return true
}

// missingAPIGateway is from AWS's service model of 2015-07-09.
const missingAPIGateway = `
GET    /apikeys GetApiKeys
POST   /apikeys CreateApiKey
DELETE /apikeys/{api_Key} DeleteApiKey
GET    /apikeys/{api_Key} GetApiKey
PATCH  /apikeys/{api_Key} UpdateApiKey
POST   /apikeys?mode=import ImportApiKeys
GET    /clientcertificates GetClientCertificates
POST   /clientcertificates GenerateClientCertificate
DELETE /clientcertificates/{clientcertificate_id} DeleteClientCertificate
GET    /clientcertificates/{clientcertificate_id} GetClientCertificate
PATCH  /clientcertificates/{clientcertificate_id} UpdateClientCertificate
GET    /domainnameaccessassociations GetDomainNameAccessAssociations
POST   /domainnameaccessassociations CreateDomainNameAccessAssociation
DELETE /domainnameaccessassociations/{domain_name_access_association_arn} DeleteDomainNameAccessAssociation
GET    /domainnames GetDomainNames
POST   /domainnames CreateDomainName
DELETE /domainnames/{domain_name} DeleteDomainName
GET    /domainnames/{domain_name} GetDomainName
PATCH  /domainnames/{domain_name} UpdateDomainName
GET    /domainnames/{domain_name}/basepathmappings GetBasePathMappings
POST   /domainnames/{domain_name}/basepathmappings CreateBasePathMapping
DELETE /domainnames/{domain_name}/basepathmappings/{base_path} DeleteBasePathMapping
GET    /domainnames/{domain_name}/basepathmappings/{base_path} GetBasePathMapping
PATCH  /domainnames/{domain_name}/basepathmappings/{base_path} UpdateBasePathMapping
POST   /rejectdomainnameaccessassociations RejectDomainNameAccessAssociation
PUT    /restapis/{restapi_id} PutRestApi
GET    /restapis/{restapi_id}/authorizers GetAuthorizers
POST   /restapis/{restapi_id}/authorizers CreateAuthorizer
DELETE /restapis/{restapi_id}/authorizers/{authorizer_id} DeleteAuthorizer
GET    /restapis/{restapi_id}/authorizers/{authorizer_id} GetAuthorizer
PATCH  /restapis/{restapi_id}/authorizers/{authorizer_id} UpdateAuthorizer
POST   /restapis/{restapi_id}/authorizers/{authorizer_id} TestInvokeAuthorizer
GET    /restapis/{restapi_id}/documentation/parts GetDocumentationParts
POST   /restapis/{restapi_id}/documentation/parts CreateDocumentationPart
PUT    /restapis/{restapi_id}/documentation/parts ImportDocumentationParts
DELETE /restapis/{restapi_id}/documentation/parts/{part_id} DeleteDocumentationPart
GET    /restapis/{restapi_id}/documentation/parts/{part_id} GetDocumentationPart
PATCH  /restapis/{restapi_id}/documentation/parts/{part_id} UpdateDocumentationPart
GET    /restapis/{restapi_id}/documentation/versions GetDocumentationVersions
POST   /restapis/{restapi_id}/documentation/versions CreateDocumentationVersion
DELETE /restapis/{restapi_id}/documentation/versions/{doc_version} DeleteDocumentationVersion
GET    /restapis/{restapi_id}/documentation/versions/{doc_version} GetDocumentationVersion
PATCH  /restapis/{restapi_id}/documentation/versions/{doc_version} UpdateDocumentationVersion
GET    /restapis/{restapi_id}/gatewayresponses GetGatewayResponses
DELETE /restapis/{restapi_id}/gatewayresponses/{response_type} DeleteGatewayResponse
GET    /restapis/{restapi_id}/gatewayresponses/{response_type} GetGatewayResponse
PATCH  /restapis/{restapi_id}/gatewayresponses/{response_type} UpdateGatewayResponse
PUT    /restapis/{restapi_id}/gatewayresponses/{response_type} PutGatewayResponse
GET    /restapis/{restapi_id}/models/{model_name}/default_template GetModelTemplate
DELETE /restapis/{restapi_id}/stages/{stage_name}/cache/authorizers FlushStageAuthorizersCache
DELETE /restapis/{restapi_id}/stages/{stage_name}/cache/data FlushStageCache
GET    /restapis/{restapi_id}/stages/{stage_name}/exports/{export_type} GetExport
GET    /restapis/{restapi_id}/stages/{stage_name}/sdks/{sdk_type} GetSdk
POST   /restapis?mode=import ImportRestApi
GET    /sdktypes GetSdkTypes
GET    /sdktypes/{sdktype_id} GetSdkType
GET    /usageplans GetUsagePlans
POST   /usageplans CreateUsagePlan
DELETE /usageplans/{usageplanId} DeleteUsagePlan
GET    /usageplans/{usageplanId} GetUsagePlan
PATCH  /usageplans/{usageplanId} UpdateUsagePlan
GET    /usageplans/{usageplanId}/keys GetUsagePlanKeys
POST   /usageplans/{usageplanId}/keys CreateUsagePlanKey
DELETE /usageplans/{usageplanId}/keys/{keyId} DeleteUsagePlanKey
GET    /usageplans/{usageplanId}/keys/{keyId} GetUsagePlanKey
PATCH  /usageplans/{usageplanId}/keys/{keyId}/usage UpdateUsage
GET    /usageplans/{usageplanId}/usage GetUsage
GET    /vpclinks GetVpcLinks
POST   /vpclinks CreateVpcLink
DELETE /vpclinks/{vpclink_id} DeleteVpcLink
GET    /vpclinks/{vpclink_id} GetVpcLink
PATCH  /vpclinks/{vpclink_id} UpdateVpcLink
`

// missingRoute53 is from AWS's service model of 2013-04-01; clients differ in
// whether they send the last slash.
const missingRoute53 = `
GET    /2013-04-01/hostedzone/{Id}/dnssec GetDNSSEC
GET    /2013-04-01/hostedzonelimit/{Id}/{Type} GetHostedZoneLimit
GET    /2013-04-01/delegationset ListReusableDelegationSets
POST   /2013-04-01/delegationset CreateReusableDelegationSet
GET    /2013-04-01/healthcheck ListHealthChecks
POST   /2013-04-01/healthcheck CreateHealthCheck
GET    /2013-04-01/queryloggingconfig ListQueryLoggingConfigs
POST   /2013-04-01/queryloggingconfig CreateQueryLoggingConfig
POST   /2013-04-01/trafficpolicy CreateTrafficPolicy
GET    /2013-04-01/hostedzone/{Id}/authorizevpcassociation ListVPCAssociationAuthorizations
POST   /2013-04-01/hostedzone/{Id}/authorizevpcassociation CreateVPCAssociationAuthorization
GET    /2013-04-01/tags/{ResourceType}/{ResourceId} ListTagsForResource
POST   /2013-04-01/tags/{ResourceType}/{ResourceId} ChangeTagsForResource
`

// missingEC2 are the actions of EC2 that clients of the ones in scope are
// likeliest to try. Others answer InvalidAction, as an unknown one does.
const missingEC2 = `
AcceptVpcEndpointConnections AcceptVpcPeeringConnection AllocateAddress AssignPrivateIpAddresses AssociateAddress
AssociateDhcpOptions AssociateRouteTable AssociateSubnetCidrBlock AssociateVpcCidrBlock AttachInternetGateway
AttachNetworkInterface AttachVpnGateway CreateDefaultSubnet CreateDefaultVpc CreateDhcpOptions
CreateEgressOnlyInternetGateway CreateFlowLogs CreateInternetGateway CreateKeyPair CreateLaunchTemplate
CreateManagedPrefixList CreateNatGateway CreateNetworkAcl CreateNetworkAclEntry CreateNetworkInterface CreateRoute
CreateRouteTable CreateTransitGateway CreateTransitGatewayVpcAttachment CreateVpcEndpointConnectionNotification
CreateVpcEndpointServiceConfiguration CreateVpcPeeringConnection CreateVpnGateway DeleteDhcpOptions DeleteFlowLogs
DeleteInternetGateway DeleteManagedPrefixList DeleteNatGateway DeleteNetworkAcl DeleteNetworkAclEntry
DeleteNetworkInterface DeleteRoute DeleteRouteTable DeleteVpcEndpointServiceConfigurations
DeleteVpcPeeringConnection DescribeAddresses DescribeDhcpOptions DescribeEgressOnlyInternetGateways
DescribeFlowLogs DescribeImages DescribeInstanceTypes DescribeInstances DescribeInternetGateways DescribeKeyPairs
DescribeManagedPrefixLists DescribeNatGateways DescribeNetworkInterfaceAttribute DescribeSecurityGroupReferences
DescribeStaleSecurityGroups DescribeTransitGateways DescribeVolumes DescribeVpcEndpointAssociations
DescribeVpcEndpointConnectionNotifications DescribeVpcEndpointConnections DescribeVpcEndpointServiceConfigurations
DescribeVpcEndpointServicePermissions DescribeVpcPeeringConnections DescribeVpnGateways DetachInternetGateway
DetachNetworkInterface DisassociateAddress DisassociateRouteTable DisassociateSubnetCidrBlock
DisassociateVpcCidrBlock GetManagedPrefixListEntries GetSecurityGroupsForVpc ModifyManagedPrefixList
ModifyNetworkInterfaceAttribute ModifySecurityGroupRules ModifySubnetAttribute
ModifyVpcEndpointServiceConfiguration ModifyVpcEndpointServicePermissions ModifyVpcPeeringConnectionOptions
ModifyVpcTenancy RejectVpcEndpointConnections RejectVpcPeeringConnection ReleaseAddress ReplaceNetworkAclAssociation
ReplaceNetworkAclEntry ReplaceRoute ReplaceRouteTableAssociation RunInstances StartInstances StopInstances
TerminateInstances UnassignPrivateIpAddresses UpdateSecurityGroupRuleDescriptionsEgress
UpdateSecurityGroupRuleDescriptionsIngress
`

// missingIAM is from AWS's service model of 2010-05-08.
const missingIAM = `
AcceptDelegationRequest AddClientIDToOpenIDConnectProvider AddRoleToInstanceProfile AddUserToGroup
AssociateDelegationRequest AttachGroupPolicy ChangePassword CreateDelegationRequest CreateGroup CreateInstanceProfile
CreateLoginProfile CreateOpenIDConnectProvider CreateSAMLProvider CreateServiceLinkedRole
CreateServiceSpecificCredential CreateVirtualMFADevice DeactivateMFADevice DeleteAccountPasswordPolicy DeleteGroup
DeleteGroupPolicy DeleteInstanceProfile DeleteLoginProfile DeleteOpenIDConnectProvider DeleteSAMLProvider
DeleteSSHPublicKey DeleteServerCertificate DeleteServiceLinkedRole DeleteServiceSpecificCredential
DeleteSigningCertificate DeleteVirtualMFADevice DetachGroupPolicy DisableOrganizationsRootCredentialsManagement
DisableOrganizationsRootSessions DisableOutboundWebIdentityFederation EnableMFADevice
EnableOrganizationsRootCredentialsManagement EnableOrganizationsRootSessions EnableOutboundWebIdentityFederation
GenerateCredentialReport GenerateOrganizationsAccessReport GenerateServiceLastAccessedDetails GetAccessKeyLastUsed
GetAccountAuthorizationDetails GetAccountPasswordPolicy GetAccountSummary GetContextKeysForCustomPolicy
GetContextKeysForPrincipalPolicy GetCredentialReport GetDelegationRequest GetGroup GetGroupPolicy
GetHumanReadableSummary GetInstanceProfile GetLoginProfile GetMFADevice GetOpenIDConnectProvider
GetOrganizationsAccessReport GetOutboundWebIdentityFederationInfo GetSAMLProvider GetSSHPublicKey GetServerCertificate
GetServiceLastAccessedDetails GetServiceLastAccessedDetailsWithEntities GetServiceLinkedRoleDeletionStatus
ListAttachedGroupPolicies ListDelegationRequests ListGroupPolicies ListGroups
ListInstanceProfileTags ListInstanceProfiles ListMFADeviceTags ListMFADevices
ListOpenIDConnectProviderTags ListOpenIDConnectProviders ListOrganizationsFeatures ListPoliciesGrantingServiceAccess
ListSAMLProviderTags ListSAMLProviders ListSSHPublicKeys ListServerCertificateTags
ListServerCertificates ListServiceSpecificCredentials ListSigningCertificates ListVirtualMFADevices PutGroupPolicy
RejectDelegationRequest RemoveClientIDFromOpenIDConnectProvider RemoveRoleFromInstanceProfile RemoveUserFromGroup
ResetServiceSpecificCredential ResyncMFADevice SendDelegationToken SetSecurityTokenServicePreferences
SimulateCustomPolicy SimulatePrincipalPolicy TagInstanceProfile TagMFADevice TagOpenIDConnectProvider
TagSAMLProvider TagServerCertificate UntagInstanceProfile UntagMFADevice UntagOpenIDConnectProvider
UntagSAMLProvider UntagServerCertificate UpdateAccountPasswordPolicy UpdateDelegationRequest UpdateGroup
UpdateLoginProfile UpdateOpenIDConnectProviderThumbprint UpdateRoleDescription UpdateSAMLProvider UpdateSSHPublicKey
UpdateServerCertificate UpdateServiceSpecificCredential UpdateSigningCertificate UploadSSHPublicKey
UploadServerCertificate UploadSigningCertificate
`

// missingSTS is from AWS's service model of 2011-06-15.
const missingSTS = `
AssumeRoleWithSAML AssumeRoleWithWebIdentity AssumeRoot DecodeAuthorizationMessage GetAccessKeyInfo
GetFederationToken
`

func names(list string) map[string]bool {
	set := map[string]bool{}
	for _, name := range strings.Fields(list) {
		set[name] = true
	}
	return set
}
