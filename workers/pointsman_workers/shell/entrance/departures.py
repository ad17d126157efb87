"""Peers that are gone before they are let in."""

import select
import socket


def has_left(sock: socket.socket) -> bool:
    """Has the peer hung up while it waited in the queue, whatever it said before?

    In a storm many have given up and dial anew; those who wait behind them come sooner.
    """
    poller = select.poll()
    poller.register(sock.fileno(), select.POLLRDHUP)
    return bool(poller.poll(0))
