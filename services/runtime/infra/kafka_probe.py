"""Whether a broker on this machine answers, asked in Kafka's own protocol: an open port is not yet a broker."""

import socket
import struct

# Length, then ApiVersions (18) version 0, correlation id 7, no client id.
_API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 7, -1)
_ANSWER_HEAD = struct.Struct(">iih")


def answers(port: int, timeout_s: float = 2.0) -> bool:
    """Whether the broker on 127.0.0.1:`port` answers an ApiVersions request without error."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout_s) as connection:
            connection.sendall(_API_VERSIONS)
            head = connection.recv(_ANSWER_HEAD.size, socket.MSG_WAITALL)
    except OSError:  # refused, reset or silent: the broker is not there yet
        return False
    if len(head) < _ANSWER_HEAD.size:
        return False
    _length, correlation, error = _ANSWER_HEAD.unpack(head)
    return bool(correlation == 7 and error == 0)
