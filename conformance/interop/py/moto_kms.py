"""moto's AWS on a free loopback port until it is ended: moto_kms.py PORTFILE

It stands in for Amazon where the real clients meet our messages. It checks neither credentials nor
key states, so failures are stub_kms.py's part.
"""

import signal
import sys

from moto.server import ThreadedMotoServer

from serve import publish


def main():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()  # returns when the socket listens
    publish(sys.argv[1], server.get_host_and_port()[1])
    signal.pause()


if __name__ == "__main__":
    main()
