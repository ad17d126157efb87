"""The WebSocket of the service in miniature: by the library's own server side, not by ours."""

import asyncio
import json
import struct
from typing import Any

import msgspec
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from pointsman_wire.messages import Message
from pointsman_wire.session_messages import ToWorker

_decode = msgspec.json.Decoder(ToWorker).decode


class WebSide:
    """Turns what comes into messages, and messages into what goes."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.target = ""
        self._writer = writer
        self._protocol = ServerProtocol(
            subprotocols=[Subprotocol("pointsman.v1")], max_size=4 * 1024 * 1024
        )

    def take(self, data: bytes, *, status: int = 101) -> list[tuple[Any, bytes]]:
        """Return the messages in it; the request is answered with this status."""
        self._protocol.receive_data(data)
        found: list[tuple[Any, bytes]] = []
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._answer(event, status)
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                found.append((_decode(bytes(event.data)), b""))
            elif isinstance(event, Frame) and event.opcode is Opcode.BINARY:
                (length,) = struct.unpack_from("<I", event.data)
                body = bytes(event.data)
                found.append((_decode(body[4 : 4 + length]), body[4 + length :]))
        self._flush()
        return found

    def say(self, message: Message, payload: bytes) -> None:
        header = json.dumps(msgspec.to_builtins(message)).encode()
        if payload:
            self._protocol.send_binary(struct.pack("<I", len(header)) + header + payload)
        else:
            self._protocol.send_text(header)
        self._flush()

    def _answer(self, request: Request, status: int) -> None:
        self.target = request.path
        response = (
            self._protocol.accept(request)
            if status == 101
            else self._protocol.reject(status, "come back later\n")
        )
        self._protocol.send_response(response)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._writer.write(data)
            else:
                self._writer.close()
