// The AWS SDK for JavaScript v3, called with commands.
'use strict';

const apigateway = require('@aws-sdk/client-api-gateway');
const ec2 = require('@aws-sdk/client-ec2');
const { run } = require('./flows.js');

const options = { endpoint: process.env.POSTERN_ENDPOINT, maxAttempts: 1 };
const call = (sdk, client) => (operation, params) => {
  const Command = sdk[`${operation[0].toUpperCase()}${operation.slice(1)}Command`];
  return client.send(new Command(params));
};

run(process.argv[2], call(apigateway, new apigateway.APIGatewayClient(options)), call(ec2, new ec2.EC2Client(options)))
  .then((facts) => console.log(JSON.stringify(facts)));
