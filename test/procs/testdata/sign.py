"""Signs and sends GET requests with botocore, one for each set of credentials.

The question is JSON on stdin: where to connect, from which address, the URL's
host and path, the region, and credentials as lists of key, secret and token.
The answer is a list of [status, body].
"""

import http.client
import json
import socket
import ssl
import sys

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

q = json.load(sys.stdin)
tls = ssl.create_default_context(cafile=q["ca"])
answers = []
for key, secret, token in q["credentials"]:
    request = AWSRequest(method="GET", url="https://%s%s" % (q["host"], q["path"]))
    SigV4Auth(Credentials(key, secret, token or None), "execute-api", q["region"]).add_auth(request)
    connection = http.client.HTTPSConnection(q["host"])
    plain = socket.create_connection((q["address"], q["port"]), timeout=10, source_address=(q["from"], 0))
    connection.sock = tls.wrap_socket(plain, server_hostname=q["host"])
    connection.request("GET", q["path"], headers=dict(request.headers.items()))
    response = connection.getresponse()
    answers.append([response.status, response.read().decode()])
    connection.close()
json.dump(answers, sys.stdout)
