"""Connections: one thread each; one more watches those whose query runs.

A connection's thread reads a packet, runs it, answers. While it is inside the engine it cannot
notice that its client has left or sent Cancel, so the socket is given to the ``Watcher``, which
kills the query by its tag; the engine then returns with an error.
"""

from __future__ import annotations

import hmac
import logging
import re
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

from relaisctl.stack.clickhouse import blocks, protocol
from relaisctl.stack.clickhouse.blocks import Block, UnsupportedType
from relaisctl.stack.clickhouse.engine import (
    QUERY_WAS_CANCELLED,
    SYNTAX_ERROR,
    Engine,
    EngineError,
    InsertTarget,
    Session,
    first_word,
    literal,
)
from relaisctl.stack.clickhouse.protocol import Client, Progress, ProtocolError, Query, Source

log = logging.getLogger(__name__)

AUTHENTICATION_FAILED: Final = 516
NOT_IMPLEMENTED: Final = 48
UNEXPECTED_PACKET: Final = 101
HELLO_TIMEOUT_S: Final = 10.0
PACKET_TIMEOUT_S: Final = 300.0
_HTTP_ANSWER: Final = (
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    b"This port speaks ClickHouse's native protocol, not HTTP.\n"
)


class Disconnected(Exception):
    """The peer closed the connection, or it timed out."""


class Watcher(threading.Thread):
    """Tells who stops waiting for the query that runs for it."""

    def __init__(self) -> None:
        super().__init__(name="watcher", daemon=True)
        self._epoll = select.epoll()
        self._lock = threading.Lock()
        self._watched: dict[int, tuple[socket.socket, Callable[[], None]]] = {}

    def watch(self, sock: socket.socket, stop: Callable[[], None]) -> None:
        """Calls ``stop`` once, from the watcher's thread, on Cancel or disconnection."""
        with self._lock:
            self._watched[sock.fileno()] = (sock, stop)
            self._epoll.register(sock, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT)

    def forget(self, sock: socket.socket) -> None:
        """After this ``stop`` is not called any more."""
        with self._lock:
            if self._watched.pop(sock.fileno(), None):
                self._epoll.unregister(sock)

    def run(self) -> None:
        while True:
            for fd, _ in self._epoll.poll():
                with self._lock:
                    if fd in self._watched:
                        sock, stop = self._watched[fd]
                        if _stops_waiting(sock):
                            stop()


def _stops_waiting(sock: socket.socket) -> bool:
    try:
        waiting = sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return waiting == b"" or waiting[0] == Client.CANCEL


class Connection:
    """One client, from its Hello to its end. ``serve`` runs in a thread of its own."""

    def __init__(self, sock: socket.socket, engine: Engine, watcher: Watcher, password: str):
        self._sock = sock
        self._engine = engine
        self._watcher = watcher
        self._password = password
        self._source = Source(self._receive)
        self._revision = 0
        self._session: Session | None = None
        self._sent = Progress()
        self._stopped = False
        self.name = "%s:%s" % sock.getpeername()[:2]

    # bytes

    def _receive(self, wanted: int) -> bytes:
        try:
            data = self._sock.recv(min(max(wanted, 1 << 16), 1 << 22))
        except TimeoutError as error:
            raise ProtocolError("timed out in the middle of a packet") from error
        except OSError as error:
            raise Disconnected(str(error)) from error
        if not data:
            raise Disconnected
        return data

    def _send(self, *packets: bytes) -> None:
        try:
            self._sock.sendall(b"".join(packets))
        except OSError as error:
            raise Disconnected(str(error)) from error

    # the conversation

    def serve(self) -> None:
        """Returns when the client leaves or talks rubbish; never raises."""
        try:
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sock.settimeout(HELLO_TIMEOUT_S)
            if self._greet():
                while True:
                    self._packet()
        except Disconnected:
            log.debug("%s: left", self.name)
        except (ProtocolError, UnsupportedType) as error:
            log.warning("%s: closed: %s", self.name, error)
            self._farewell(UNEXPECTED_PACKET, f"{error}. (UNEXPECTED_PACKET_FROM_CLIENT)")
        except Exception:
            log.exception("%s: closed by an error of ours", self.name)
        finally:
            self._sock.close()
            if self._session:
                self._session.close()

    def stop(self) -> None:
        """Makes ``serve`` return soon; from any thread."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _farewell(self, code: int, message: str) -> None:
        """An error before closing, for a peer that may understand it."""
        try:
            self._send(protocol.exception(code, message))
            # Closing with unread bytes resets the connection and may destroy the message.
            self._sock.shutdown(socket.SHUT_WR)
            self._sock.settimeout(0.2)
            for _ in range(64):
                if not self._sock.recv(1 << 16):
                    break
        except (Disconnected, OSError):
            pass

    def _greet(self) -> bool:
        first = self._source.byte()
        if first in b"GPHDOCT":  # GET, POST, PUT, HEAD...: Hello is 0
            log.warning("%s: closed: an HTTP request", self.name)
            self._sock.sendall(_HTTP_ANSWER)
            return False
        if first != Client.HELLO:
            raise ProtocolError(f"first packet is {first}, not Hello")
        hello = protocol.read_hello(self._source)
        self._revision = hello.revision
        right = hmac.compare_digest(hello.password.encode(errors="replace"), self._password.encode())
        if hello.user not in ("", "default") or not right:
            log.warning("%s: wrong user or password (user %r)", self.name, hello.user)
            self._farewell(
                AUTHENTICATION_FAILED,
                f"{hello.user}: Authentication failed: password is incorrect, or there is no user "
                "with such name. (AUTHENTICATION_FAILED)",
            )
            return False
        try:
            self._session = self._engine.session(hello.database, self._on_progress)
        except EngineError as error:
            self._farewell(error.code, error.message)
            return False
        engine = self._engine
        self._send(protocol.hello(self._revision, engine.version, engine.timezone, "relais"))
        if self._revision >= protocol.ADDENDUM:
            self._source.string(10_000)
        self._source.release()
        log.debug("%s: %s, revision %d", self.name, hello.client, self._revision)
        return True

    def _packet(self) -> None:
        self._sock.settimeout(None)
        kind = self._source.varint()
        self._sock.settimeout(PACKET_TIMEOUT_S)
        if kind == Client.PING:
            self._send(protocol.PONG)
        elif kind == Client.QUERY:
            self._query(protocol.read_query(self._source, self._revision))
        elif kind == Client.DATA:
            # Data that was under way when its INSERT failed.
            self._source.string(10_000)
            raise ProtocolError("data without a query")
        elif kind != Client.CANCEL:  # a Cancel that came after the end is nothing
            raise ProtocolError(f"unknown packet {kind}")
        self._source.release()

    # queries

    def _query(self, query: Query) -> None:
        session = self._session
        assert session is not None
        self._sent, self._stopped = Progress(), False
        tag = f"/* query_id: {query.id.replace('*/', '')} */ " if query.id else ""
        tag = self._engine.tag() + tag
        started = time.monotonic()
        try:
            self._no_external_tables(query)
            session.apply(query.settings)
            if target := InsertTarget.parse(query.sql):
                self._insert(session, query, target, tag)
            else:
                self._run(session, query, tag)
            self._send(self._rest_of_progress(), protocol.END_OF_STREAM)
        except EngineError as error:
            if self._stopped and error.code == QUERY_WAS_CANCELLED:
                self._send(self._rest_of_progress(), protocol.END_OF_STREAM)
            else:
                self._send(protocol.exception(error.code, error.message))
        except UnsupportedType as error:
            self._send(protocol.exception(NOT_IMPLEMENTED, f"{error}. (NOT_IMPLEMENTED)"))
        log.debug("%s: %.1f ms: %.200s", self.name, 1e3 * (time.monotonic() - started), query.sql)

    def _no_external_tables(self, query: Query) -> None:
        """Reads the tables that a client may send with a query, up to the empty block."""
        while True:
            kind = self._source.varint()
            if kind != Client.DATA:
                raise ProtocolError(f"packet {kind} where a query's external tables end")
            name, block = self._data(query)
            if not block.columns:
                return
            log.warning("%s: external table %s ignored", self.name, name)

    def _data(self, query: Query) -> tuple[str, Block]:
        """The fields of a Data packet: a table's name and a block."""
        name = self._source.string(10_000)
        if not query.compressed:
            return name, blocks.read_block(self._source, self._revision)
        frames = Source(lambda _: protocol.read_frame(self._source))
        block = blocks.read_block(frames, self._revision)
        if not frames.exhausted:
            raise ProtocolError("bytes after the end of a compressed block")
        self._source.release()
        return name, block

    def _run(self, session: Session, query: Query, tag: str) -> None:
        sql = _without_format(query.sql)
        rows = count = size = 0
        self._watcher.watch(self._sock, lambda: self._kill(tag))
        try:
            for piece in session.execute(sql, query.params, tag):
                for block in blocks.read_blocks(piece):
                    if not count:
                        self._send_block(blocks.header(block.columns), query)
                    self._send_block(block, query)
                    rows, count, size = rows + block.rows, count + 1, size + len(piece)
        finally:
            self._watcher.forget(self._sock)
        if not count and (columns := session.describe(sql, query.params)):
            self._send_block(blocks.header(columns), query)
        self._send(protocol.profile_info(rows, count, size))

    def _insert(self, session: Session, query: Query, target: InsertTarget, tag: str) -> None:
        inserter, columns = session.insert(target, tag)
        try:
            for _, spec in columns:
                blocks.column(spec)
            self._send_block(blocks.header(columns), query)
            while True:
                kind = self._source.varint()
                if kind == Client.CANCEL:
                    return
                if kind != Client.DATA:
                    raise ProtocolError(f"packet {kind} where an INSERT's data is")
                _, block = self._data(query)
                if not block.columns:
                    break
                session.append(inserter, block)
                self._acknowledge_block()
            session.finish(inserter)
            self._acknowledge_block()
        finally:
            if not inserter._finished:
                inserter.cancel()

    def _acknowledge_block(self) -> None:
        """Newer clients wait for profile events after each block; they may be empty."""
        if self._revision >= protocol.PROFILE_EVENTS_IN_INSERT:
            events = blocks.EMPTY.client_bytes(self._revision)
            self._send(protocol.data(events, False, protocol.Server.PROFILE_EVENTS))

    def _send_block(self, block: Block, query: Query) -> None:
        self._send(protocol.data(block.client_bytes(self._revision), query.compressed))

    # progress and stopping

    def _on_progress(self, now: Progress) -> None:
        try:
            self._send(self._progress_packet(now))
        except Disconnected:
            pass  # the watcher sees it too, and may stop the query

    def _progress_packet(self, now: Progress) -> bytes:
        step = now.since(self._sent)
        self._sent = now
        return protocol.progress(self._revision, step)

    def _rest_of_progress(self) -> bytes:
        return self._progress_packet(self._session.progress) if self._session else b""

    def _kill(self, tag: str) -> None:
        self._stopped = True
        log.info("%s: client has left or cancelled: stopping its query", self.name)
        self._engine.kill(f"startsWith(query, {literal(tag)})")


class Server:
    """Listens and serves until ``stop``.

    :param port: 0 takes a free one; ``address`` tells which.
    """

    def __init__(self, engine: Engine, host: str, port: int, password: str = "") -> None:
        self._engine = engine
        self._password = password
        self._watcher = Watcher()
        self._connections: dict[Connection, threading.Thread] = {}
        self._listener = socket.create_server((host, port), backlog=128)
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self._stopping = threading.Event()

    def run(self) -> None:
        """Accepts connections until ``stop`` is called from a signal handler or a thread."""
        self._watcher.start()
        self._listener.settimeout(0.2)
        while not self._stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError as error:  # out of descriptors, or the peer was gone already
                log.warning("accept: %s", error)
                time.sleep(0.1)
                continue
            self._start(sock)
        self._listener.close()
        for connection in list(self._connections):
            connection.stop()
        for thread in list(self._connections.values()):
            thread.join(10)

    def stop(self) -> None:
        self._stopping.set()

    def _start(self, sock: socket.socket) -> None:
        try:
            connection = Connection(sock, self._engine, self._watcher, self._password)
        except OSError:
            sock.close()
            return

        def serve() -> None:
            connection.serve()
            self._connections.pop(connection, None)

        thread = threading.Thread(target=serve, name=connection.name, daemon=True)
        self._connections[connection] = thread
        thread.start()


_FORMAT: Final = re.compile(r"\s+FORMAT\s+\w+\s*;?\s*$", re.IGNORECASE)


def _without_format(sql: str) -> str:
    """On this protocol results are always blocks; a FORMAT clause is for the client's own use."""
    return sql if first_word(sql) == "INSERT" else _FORMAT.sub("", sql)


__all__ = ["Server", "SYNTAX_ERROR"]
