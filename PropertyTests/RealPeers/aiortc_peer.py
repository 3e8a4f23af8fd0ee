"""A peer made of aiortc (Debian's python3-aiortc), driven in lines of JSON, without trickle.

    aiortc_peer.py answer     stdin: {"type": "offer", "sdp": …}     stdout: {"type": "answer", "sdp": …}
    aiortc_peer.py offer      stdout: {"type": "offer", "sdp": …}    stdin: {"type": "answer", "sdp": …}

As offerer it opens a channel named "aiortc". Whatever arrives on any channel, a string or bytes, goes back on it.
What happens is then told on stdout, one object a line: {"event": "connection", "state": …}, {"event": "open", "label": …},
{"event": "message", "label": …, "kind": "string" or "bytes", "length": …}, {"event": "close", "label": …}. It ends when its stdin does.
"""

import asyncio
import json
import sys

from aiortc import RTCPeerConnection, RTCSessionDescription


def tell(value):
    print(json.dumps(value), flush=True)


def echo(channel):
    @channel.on("message")
    def on_message(message):
        kind = "string" if isinstance(message, str) else "bytes"
        tell({"event": "message", "label": channel.label, "kind": kind, "length": len(message)})
        channel.send(message)

    @channel.on("close")
    def on_close():
        tell({"event": "close", "label": channel.label})


async def main(role):
    lines = asyncio.StreamReader(limit=2**22)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    peer = RTCPeerConnection()

    @peer.on("connectionstatechange")
    def on_state():
        tell({"event": "connection", "state": peer.connectionState})

    @peer.on("datachannel")
    def on_channel(channel):
        tell({"event": "open", "label": channel.label})
        echo(channel)

    async def read_description():
        return RTCSessionDescription(**json.loads(await lines.readline()))

    def tell_description():
        tell({"type": peer.localDescription.type, "sdp": peer.localDescription.sdp})

    if role == "offer":
        channel = peer.createDataChannel("aiortc")
        channel.on("open", lambda: tell({"event": "open", "label": channel.label}))
        echo(channel)
        await peer.setLocalDescription(await peer.createOffer())
        tell_description()
        await peer.setRemoteDescription(await read_description())
    else:
        await peer.setRemoteDescription(await read_description())
        await peer.setLocalDescription(await peer.createAnswer())
        tell_description()

    while await lines.readline():
        pass
    await peer.close()


asyncio.run(main(sys.argv[1]))
