// The AWS SDK for JavaScript v2, called with callbacks as the seed document does.
'use strict';

const AWS = require('aws-sdk');
const { run } = require('./flows.js');

const options = { endpoint: process.env.POSTERN_ENDPOINT, maxRetries: 0 };
const call = (client) => (operation, params) =>
  new Promise((resolve, reject) => {
    client[operation](params, (err, data) => (err ? reject(err) : resolve(data)));
  });

run(process.argv[2], call(new AWS.APIGateway(options)), call(new AWS.EC2(options)))
  .then((facts) => console.log(JSON.stringify(facts)));
