// The flows that both SDKs for JavaScript go through, and what is told of them.
// Each answers one JSON object of facts on stdout; the Go tests judge it.
'use strict';

// The seed document's own call.
exports.simplePetStore = {
  name: 'Simple PetStore (node.js SDK, private)',
  endpointConfiguration: {
    types: ['PRIVATE'],
  },
  description: 'Demo private API created using the AWS SDK for node.js',
  version: '0.00.001',
};

// plain is an answer without what the SDK adds to it.
function plain(data) {
  const { $metadata, ...rest } = data;
  return rest;
}

// run plays a flow on a client: call(operation, params) resolves to the answer.
exports.run = async function run(flow, apigateway, ec2) {
  switch (flow) {
    case 'create': {
      const made = await apigateway('createRestApi', exports.simplePetStore);
      const read = await apigateway('getRestApi', { restApiId: made.id });
      return {
        made: plain(made),
        read: plain(read),
        dates: made.createdDate instanceof Date && read.createdDate instanceof Date,
        ageSeconds: (Date.now() - made.createdDate.getTime()) / 1000,
      };
    }
    case 'associate': {
      const [first, second] = process.argv.slice(3);
      const api = await apigateway('createRestApi', {
        name: 'associated', endpointConfiguration: { types: ['PRIVATE'], vpcEndpointIds: [first] },
      });
      const patch = (op, value) => apigateway('updateRestApi', {
        restApiId: api.id, patchOperations: [{ op, path: '/endpointConfiguration/vpcEndpointIds', value }],
      });
      const added = await patch('add', second);
      const removed = await patch('remove', first);
      return {
        id: api.id,
        added: added.endpointConfiguration.vpcEndpointIds,
        removed: removed.endpointConfiguration.vpcEndpointIds,
        tags: removed.tags,
      };
    }
    case 'fail': {
      try {
        await apigateway('createRestApi', { name: 'x', endpointConfiguration: { types: ['PRIVATE', 'REGIONAL'] } });
      } catch (err) {
        return {
          error: err.code || err.name,
          message: err.message,
          status: err.statusCode || err.$metadata.httpStatusCode,
          request: Boolean(err.requestId || err.$metadata.requestId),
        };
      }
      return {};
    }
    case 'endpoints': {
      const [id] = process.argv.slice(3);
      const { VpcEndpoints: [endpoint] } = await ec2('describeVpcEndpoints', { VpcEndpointIds: [id] });
      return {
        state: endpoint.State, type: endpoint.VpcEndpointType, service: endpoint.ServiceName,
        privateDns: endpoint.PrivateDnsEnabled, subnets: endpoint.SubnetIds.length, interfaces: endpoint.NetworkInterfaceIds.length,
        names: endpoint.DnsEntries.map((e) => e.DnsName), date: endpoint.CreationTimestamp instanceof Date,
        routeTables: endpoint.RouteTableIds,
      };
    }
  }
  throw new Error(`no flow ${flow}`);
};
