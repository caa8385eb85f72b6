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
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Final

from relaisctl.stack.clickhouse import blocks, protocol
from relaisctl.stack.clickhouse.blocks import Block, UnsupportedTypeError
from relaisctl.stack.clickhouse.engine import (
    BAD_ARGUMENTS,
    QUERY_WAS_CANCELLED,
    Columns,
    Engine,
    EngineError,
    InsertTarget,
    Session,
    first_word,
)
from relaisctl.stack.clickhouse.protocol import ClientPacket, Progress, ProtocolError, Query, Source

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


class DisconnectedError(Exception):
    """The peer closed the connection, or it timed out."""


class Running:
    """A query that runs for a client, and how to stop it."""

    def __init__(self, engine: Engine, query_id: str) -> None:
        self._engine = engine
        self.tag = engine.tag(query_id)
        self.stopped = False

    def stop(self) -> None:
        """Kills the query wherever it is. Harmless before it has begun and after it has ended."""
        self.stopped = True
        try:
            self._engine.kill(self.tag)
        except EngineError as error:
            log.error("cannot stop a query: %s", error.message)


class Watcher(threading.Thread):
    """Stops the queries of those who no longer wait: who sent Cancel, or has gone."""

    _AGAIN_S: Final = 0.2  # a query can be killed only once it is in the list of processes

    def __init__(self) -> None:
        super().__init__(name="watcher", daemon=True)
        self._epoll = select.epoll()
        self._lock = threading.Lock()
        self._watched: dict[int, tuple[socket.socket, Running]] = {}
        self._leaving: set[int] = set()

    @contextmanager
    def watch(self, sock: socket.socket, running: Running) -> Iterator[None]:
        """Within this context ``running`` is stopped when the peer of ``sock`` stops waiting."""
        fd = sock.fileno()
        with self._lock:
            self._watched[fd] = (sock, running)
            self._epoll.register(fd, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT)
        try:
            yield
        finally:
            with self._lock:
                del self._watched[fd]
                self._leaving.discard(fd)
                self._epoll.unregister(fd)

    def run(self) -> None:
        while True:
            events = self._epoll.poll(self._AGAIN_S if self._leaving else None)
            with self._lock:
                for fd, what in events:
                    if fd in self._watched:
                        self._judge(fd, what)
                stop = [self._watched[fd][1] for fd in self._leaving]
            for running in stop:
                running.stop()

    def _judge(self, fd: int, what: int) -> None:
        gone = what & (select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR)
        if gone or _sent_cancel(self._watched[fd][0]):
            self._leaving.add(fd)
        else:  # a packet sent ahead; it stays readable, so wait for the end only
            self._epoll.modify(fd, select.EPOLLRDHUP | select.EPOLLONESHOT)


def _sent_cancel(sock: socket.socket) -> bool:
    try:
        return sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) in (
            b"",
            bytes([ClientPacket.CANCEL]),
        )
    except BlockingIOError:
        return False
    except OSError:
        return True


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
        # Of the query that runs, or ran last:
        self._query_compressed = False
        self._draining = False  # its INSERT's data is still under way
        self._sent = Progress()
        self.name = "{}:{}".format(*sock.getpeername()[:2])

    # bytes

    def _receive(self, wanted: int) -> bytes:
        try:
            data = self._sock.recv(min(max(wanted, 1 << 16), 1 << 22))
        except TimeoutError as error:
            raise ProtocolError("timed out in the middle of a packet") from error
        except OSError as error:
            raise DisconnectedError(str(error)) from error
        if not data:
            raise DisconnectedError
        return data

    def _send(self, *packets: bytes) -> None:
        try:
            self._sock.sendall(b"".join(packets))
        except OSError as error:
            raise DisconnectedError(str(error)) from error

    # the conversation

    def serve(self) -> None:
        """Returns when the client leaves or talks rubbish; never raises."""
        try:
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sock.settimeout(HELLO_TIMEOUT_S)
            if self._greet():
                while True:
                    self._packet()
        except DisconnectedError:
            log.debug("%s: left", self.name)
        except (ProtocolError, UnsupportedTypeError) as error:
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
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

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
        except (DisconnectedError, OSError):
            pass

    def _greet(self) -> bool:
        first = self._source.byte()
        if first in b"GPHDOCT":  # GET, POST, PUT, HEAD...: Hello is 0
            log.warning("%s: closed: an HTTP request", self.name)
            self._sock.sendall(_HTTP_ANSWER)
            return False
        if first != ClientPacket.HELLO:
            raise ProtocolError(f"first packet is {first}, not Hello")
        hello = protocol.read_hello(self._source)
        self._revision = hello.revision
        right = hmac.compare_digest(
            hello.password.encode(errors="replace"), self._password.encode()
        )
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
        if kind == ClientPacket.PING:
            self._send(protocol.PONG)
        elif kind == ClientPacket.QUERY:
            self._query(protocol.read_query(self._source, self._revision))
        elif kind == ClientPacket.DATA:
            self._late_data()
        elif kind != ClientPacket.CANCEL:  # a Cancel that came after the end is nothing
            raise ProtocolError(f"unknown packet {kind}")
        self._source.release()

    # queries

    def _query(self, query: Query) -> None:
        """Runs one query and answers it: the last packet is EndOfStream or Exception."""
        session = self._session
        assert session is not None
        self._query_compressed, self._draining, self._sent = query.compressed, False, Progress()
        running = Running(self._engine, query.id)
        started = time.monotonic()
        try:
            tables = self._external_tables()
            if not query.is_text():
                raise EngineError(BAD_ARGUMENTS, "The query is not UTF-8. (BAD_ARGUMENTS)")
            session.apply(query.settings)
            with session.temporary(tables):
                if target := InsertTarget.parse(query.sql):
                    self._insert(session, target, running)
                else:
                    self._run(session, query, running)
            answer = protocol.END_OF_STREAM
        except EngineError as error:
            answer = protocol.exception(error.code, error.message)
            if running.stopped and error.code == QUERY_WAS_CANCELLED:
                log.info("%s: stopped a query: its client cancelled it or left", self.name)
                answer = protocol.END_OF_STREAM
        except UnsupportedTypeError as error:
            answer = protocol.exception(NOT_IMPLEMENTED, f"{error}. (NOT_IMPLEMENTED)")
        self._send(answer)
        log.debug("%s: %.1f ms: %.200s", self.name, 1e3 * (time.monotonic() - started), query.sql)

    def _run(self, session: Session, query: Query, running: Running) -> None:
        if self._source.buf[self._source.pos :] == bytes([ClientPacket.CANCEL]):
            return  # came in one piece with the query
        sql = _without_format(query.sql)
        rows = count = size = 0
        columns: Columns = []
        with (
            self._watcher.watch(self._sock, running),
            closing(session.execute(sql, query.params, running.tag)) as pieces,
        ):
            for piece in pieces:
                for block in blocks.read_blocks(piece):
                    if not count:
                        columns = session.with_zones(block.columns, sql, query.params)
                        self._send_block(blocks.header(columns))
                    self._send_block(block.called(columns))
                    rows, count, size = rows + block.rows, count + 1, size + block.size
        if not count and (columns := session.describe(sql, query.params)):
            self._send_block(blocks.header(columns))
        progress = self._progress_packet(session.progress)
        self._send(protocol.profile_info(rows, count, size), progress)

    def _insert(self, session: Session, target: InsertTarget, running: Running) -> None:
        """Hands over block after block; all or nothing is committed at the empty one."""
        columns = session.target_columns(target)
        for _, spec in columns:
            blocks.column(spec)  # refuse now what could not be read then
        with session.insert(target, running.tag) as insert:
            self._send_block(blocks.header(columns))
            self._draining = True
            while (block := self._insert_block()) is not None and block.columns:
                insert.append(block)
                self._acknowledge_block()
            self._draining = False
            if block is not None:
                insert.finish()
                self._acknowledge_block()
                if self._revision >= protocol.WRITE_INFO:
                    self._send(self._progress_packet(session.progress))

    def _insert_block(self) -> Block | None:
        """The next block of an INSERT; None when the client cancels it."""
        kind = self._source.varint()
        if kind == ClientPacket.CANCEL:
            return None
        if kind != ClientPacket.DATA:
            raise ProtocolError(f"packet {kind} where an INSERT's data is expected")
        return self._data()[1]

    def _late_data(self) -> None:
        """Blocks that were under way when their INSERT failed, up to the empty one."""
        if not self._draining:
            raise ProtocolError("data without a query")
        self._draining = bool(self._data()[1].columns)

    def _external_tables(self) -> list[tuple[str, Block]]:
        """Tables that a client sends along with a query, up to the empty block."""
        tables: list[tuple[str, Block]] = []
        while True:
            if (kind := self._source.varint()) != ClientPacket.DATA:
                raise ProtocolError(f"packet {kind} where a query's external tables end")
            name, block = self._data()
            if not block.columns:
                return tables
            tables.append((name, block))

    def _data(self) -> tuple[str, Block]:
        """The fields of a Data packet: a table's name and a block."""
        name = self._source.string(10_000)
        if not self._query_compressed:
            return name, blocks.read_block(self._source, self._revision)
        frames = Source(lambda _: protocol.read_frame(self._source))
        block = blocks.read_block(frames, self._revision)
        if not frames.exhausted:
            raise ProtocolError("bytes after the end of a compressed block")
        self._source.release()
        return name, block

    def _acknowledge_block(self) -> None:
        """Newer clients wait for profile events after each block; they may be empty."""
        if self._revision >= protocol.PROFILE_EVENTS_IN_INSERT:
            events = blocks.EMPTY.client_bytes(self._revision)
            self._send(protocol.data(events, False, protocol.ServerPacket.PROFILE_EVENTS))

    def _send_block(self, block: Block) -> None:
        self._send(protocol.data(block.client_bytes(self._revision), self._query_compressed))

    def _on_progress(self, now: Progress) -> None:
        """Called in this thread, from inside the engine: an exception there would be lost."""
        with suppress(DisconnectedError):  # the watcher sees it too, and stops the query
            self._send(self._progress_packet(now))

    def _progress_packet(self, now: Progress) -> bytes:
        step, self._sent = now.since(self._sent), now
        return protocol.progress(self._revision, step)


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
        try:
            thread.start()
        except RuntimeError as error:  # the system gives no more threads
            log.error("%s: refused: %s", connection.name, error)
            self._connections.pop(connection)
            sock.close()


_FORMAT: Final = re.compile(r"\s+FORMAT\s+\w+\s*;?\s*$", re.IGNORECASE)


def _without_format(sql: str) -> str:
    """On this protocol results are always blocks; a FORMAT clause is for the client's own use."""
    return sql if first_word(sql) == "INSERT" else _FORMAT.sub("", sql)
