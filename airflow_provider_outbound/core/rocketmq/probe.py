"""
Asks name servers and brokers of the remoting protocol why no messages arrive.

librocketmq reports errors only to its log. So this module sends the same requests itself: where the topic is, and
whether this group may read it. No message is consumed and no offset moves.

Source: RemotingCommand, RequestCode and ResponseCode of RocketMQ 5.5.0.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import socket
import struct
from collections.abc import Mapping
from typing import Any

from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings

#: Deadline of a connection and of an answer (seconds).
TIMEOUT = 3.0
#: Longest answer accepted (bytes); a route is a few hundred.
_MAX_ANSWER = 4 * 1024 * 1024

_GET_ROUTE, _PULL = 105, 11
_NO_PERMISSION, _TOPIC_MISSING, _GROUP_MISSING = 16, 17, 26
#: A pull from an offset beyond every message finds none.
_BEHIND_ALL = 2**62
#: Flag: the pull contains its own tag expression.
_HAS_SUBSCRIPTION = 4

_ADDRESS = re.compile(rb'"([^"\s:]+):(\d{1,5})"')


def diagnose(settings: RocketMQSettings) -> str:
    """
    Return why no messages arrive and how to fix that; empty if no problem was found.

    :param settings: A subscription of transport ``remoting``.
    """
    topic, group = settings.qualified(settings.topic), settings.qualified(settings.consumer_group)
    unreachable: list[str] = []
    for endpoint in settings.endpoints:
        server = f"RocketMQ name server at {endpoint}"
        try:
            code, body = _ask(endpoint, settings, _GET_ROUTE, {"topic": topic, "acceptStandardJsonOnly": "true"})
        except (OSError, ValueError):
            unreachable.append(endpoint)
            continue
        if code == _TOPIC_MISSING:
            return (
                f"{server} knows no running broker with topic {topic!r}: start the broker, create the topic there,"
                " or correct topic (and namespace)"
            )
        if code:
            return f"{server} refuses the route of topic {topic!r} (code {code}): correct login and password"
        brokers = sorted({f"{host.decode()}:{port.decode()}" for host, port in _ADDRESS.findall(body)})
        return next(filter(None, (_trouble_at(broker, settings, topic, group) for broker in brokers)), "")
    return f"RocketMQ name server at {', '.join(unreachable)} cannot be reached: correct host and port, or start it"


def _trouble_at(broker: str, settings: RocketMQSettings, topic: str, group: str) -> str:
    fields = {
        "topic": topic,
        "consumerGroup": group,
        "queueId": 0,
        "queueOffset": _BEHIND_ALL,
        "maxMsgNums": 1,
        "sysFlag": _HAS_SUBSCRIPTION,
        "commitOffset": 0,
        "suspendTimeoutMillis": 0,
        "subscription": settings.tag,
        "subVersion": 0,
    }
    try:
        code, _ = _ask(broker, settings, _PULL, fields)
    except (OSError, ValueError):
        return f"RocketMQ broker at {broker} cannot be reached from here: start it, or allow connections to it"
    if code == _GROUP_MISSING:
        return (
            f"RocketMQ broker at {broker} has no consumer group {group!r}: create it there, or correct consumer_group"
        )
    if code == _NO_PERMISSION:
        return f"RocketMQ broker at {broker} refuses the credentials: correct login and password (and namespace)"
    return ""


def _ask(endpoint: str, settings: RocketMQSettings, code: int, fields: Mapping[str, Any]) -> tuple[int, bytes]:
    """
    Send one request; return the answer's code and body.

    :raises OSError: There was no answer.
    :raises ValueError: The answer is not valid.
    """
    host, _, port = endpoint.rpartition(":")
    texts = {name: str(value) for name, value in fields.items()}
    if settings.username:
        texts["AccessKey"] = settings.username
        signed = "".join(texts[name] for name in sorted(texts)).encode()
        digest = hmac.digest(settings.password.encode(), signed, "sha1")
        texts["Signature"] = base64.b64encode(digest).decode()
    header = {
        "code": code,
        "language": "PYTHON",
        "version": 0,
        "opaque": 1,
        "flag": 0,
        "extFields": texts,
        "serializeTypeCurrentRPC": "JSON",
    }
    packed = json.dumps(header).encode()
    with socket.create_connection((host, int(port)), TIMEOUT) as connection:
        connection.sendall(struct.pack(">II", 4 + len(packed), len(packed)) + packed)
        (total,) = struct.unpack(">I", _read(connection, 4))
        if not 4 <= total <= _MAX_ANSWER:
            raise ValueError("not the remoting protocol")
        answer = _read(connection, total)
    (header_length,) = struct.unpack(">I", answer[:4])
    header_length &= 0xFFFFFF  # the byte above is the header's encoding
    answered = json.loads(answer[4 : 4 + header_length])
    return int(answered["code"]), answer[4 + header_length :]


def _read(connection: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise ConnectionResetError("the connection was closed")
        data += piece
    return bytes(data)
