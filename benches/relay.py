#!/usr/bin/env python3
"""relay.py MILLISECONDS COUNTED LISTEN=HOST:PORT...: passes TCP connections to ports of loopback on to others, later.

For kernels that can't delay packets (netem). Each direction is delayed by half of MILLISECONDS, the round trip; order is kept, and
there is no limit to the bandwidth. A connection begins as it would over such a way: the other side accepts it after one and a half
round trips, and nobody's words leave before the connection could have been answered. What each connection carried is added to the file
COUNTED (`-`: none), one line each: bytes there, bytes back.
"""

import os
import queue
import socket
import sys
import threading
import time


def carry(source, sink, delay, begin):
    """Everything from one socket to the other, each piece `delay` after it came; how many bytes."""
    pieces = queue.SimpleQueue()

    def deliver():
        while True:
            due, piece = pieces.get()
            time.sleep(max(0, due - time.monotonic()))
            try:
                sink.sendall(piece) if piece else sink.shutdown(socket.SHUT_WR)
            except OSError:
                return
            if not piece:
                return

    out = threading.Thread(target=deliver, daemon=True)
    out.start()
    total = 0
    while True:
        try:
            # What came is acknowledged at once, for all alike: both ends talk to this kernel and not to each other's, and whether the
            # other end would wait for something to send with it (40 ms, here) is not for the relay to guess.
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            piece = source.recv(1 << 18)
        except OSError:
            piece = b""
        pieces.put((max(time.monotonic(), begin) + delay, piece))
        total += len(piece)
        if not piece:
            break
    out.join()
    return total


def connection(client, to, delay, counted):
    began = time.monotonic()
    # There, back, and there again: then the other side knows that somebody is connected.
    time.sleep(3 * delay)
    server = socket.create_connection(to)
    for end in (client, server):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    back = []
    returning = threading.Thread(target=lambda: back.append(carry(server, client, delay, 0)), daemon=True)
    returning.start()
    there = carry(client, server, delay, began + 2 * delay)
    returning.join()
    client.close()
    server.close()
    if counted != "-":
        file = os.open(counted, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(file, f"{there} {back[0]}\n".encode())
        os.close(file)


def accept(listener, *how):
    while True:
        client, _ = listener.accept()
        threading.Thread(target=connection, args=(client, *how), daemon=True).start()


def main():
    milliseconds, counted, *ways = sys.argv[1:]
    threads = []
    for way in ways:
        listen, _, to = way.partition("=")
        host, _, port = to.rpartition(":")
        listener = socket.create_server(("127.0.0.1", int(listen)), backlog=128)
        how = (listener, (host, int(port)), float(milliseconds) / 2000, counted)
        threads.append(threading.Thread(target=accept, args=how))
        threads[-1].start()
    for thread in threads:
        thread.join()


main()
