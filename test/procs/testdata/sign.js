// Signs and sends GET requests with the signer of AWS's SDK for JavaScript v3,
// as sign.py does with botocore. The SDK is that of test/conformance/clients,
// whose folder is the argument.
'use strict';

const fs = require('node:fs');
const https = require('node:https');
const sdk = require('node:module').createRequire(`${process.argv[2]}/`);
const { SignatureV4 } = sdk('@smithy/signature-v4');
const { Sha256 } = sdk('@aws-crypto/sha256-js');

const q = JSON.parse(fs.readFileSync(0, 'utf8'));
const ca = fs.readFileSync(q.ca);

async function ask([accessKeyId, secretAccessKey, sessionToken]) {
  const signer = new SignatureV4({
    credentials: { accessKeyId, secretAccessKey, sessionToken: sessionToken || undefined }, region: q.region, service: 'execute-api', sha256: Sha256,
  });
  const { headers } = await signer.sign({ method: 'GET', protocol: 'https:', hostname: q.host, path: q.path, query: {}, headers: { host: q.host } });
  return new Promise((resolve, reject) => {
    https.get({ host: q.address, port: q.port, localAddress: q.from, servername: q.host, path: q.path, headers, ca, agent: false }, (res) => {
      const parts = [];
      res.on('data', (d) => parts.push(d));
      res.on('end', () => resolve([res.statusCode, Buffer.concat(parts).toString()]));
    }).on('error', reject);
  });
}

(async () => {
  const answers = [];
  for (const credentials of q.credentials) answers.push(await ask(credentials));
  console.log(JSON.stringify(answers));
})();
