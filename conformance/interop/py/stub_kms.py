"""A KMS that only fails, always in the same way: stub_kms.py PORTFILE FAILURE [LOG]

FAILURE is one of
  NAMEException   that error of AWS JSON 1.1, with the status Amazon uses; a namespace before the
                  name (com.amazonaws.kms#NAMEException) is sent as it is
  5xx             that status with a page of HTML, as a proxy answers
  drop            the request is read, the connection closed
  hang            the request is read, no answer comes
Each request becomes a line in LOG: operation, access key id and region of its signature, session
token or a dash.
"""

import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from serve import publish

# Every other error is the client's fault: 400.
STATUSES = {
    "DependencyTimeoutException": 503,
    "KMSInternalException": 500,
    "KeyUnavailableException": 500,
    "ServiceUnavailableException": 503,
}
CREDENTIAL = re.compile(r"Credential=([^/]+)/\d{8}/([^/]+)/kms/aws4_request")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    failure = None
    log = None

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.note()
        if self.failure == "hang":
            threading.Event().wait()
        elif self.failure == "drop":
            self.close_connection = True
        elif self.failure.isdigit():
            self.answer(int(self.failure), "text/html", "<h1>no upstream</h1>")
        else:
            body = {"__type": self.failure, "message": "the stub always fails like this"}
            status = STATUSES.get(self.failure.rpartition("#")[2], 400)
            self.answer(status, "application/x-amz-json-1.1", json.dumps(body))

    def answer(self, status, content_type, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-amzn-RequestId", "00000000-0000-0000-0000-000000000000")
        self.end_headers()
        self.wfile.write(body)

    def note(self):
        if self.log:
            operation = self.headers.get("X-Amz-Target", "?").rpartition(".")[2]
            signed = CREDENTIAL.search(self.headers.get("Authorization", ""))
            with open(self.log, "a", encoding="ascii") as file:
                token = self.headers.get("X-Amz-Security-Token", "-")
                print(operation, *(signed.groups() if signed else "??"), token, file=file)

    def log_message(self, *args):
        """Nothing: stderr is for faults of the stub."""


def main():
    port_file, Handler.failure, *rest = sys.argv[1:]
    Handler.log = rest[0] if rest else None
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    publish(port_file, server.server_port)
    server.serve_forever()


if __name__ == "__main__":
    main()
