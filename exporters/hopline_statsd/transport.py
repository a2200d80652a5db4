"""The sockets, none of which ever blocks a sender: datagrams (UDP, IPv6, unix) and streams (TCP, unix)."""

from __future__ import annotations

import encodings.idna  # noqa: F401  getaddrinfo would import it, and a child that is forked meanwhile would wait for ever
import errno
import ipaddress
import selectors
import socket
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from hopline_statsd.endpoint import Endpoint

_Address = Any  # what the socket module calls an address: a str or a tuple
_Target = tuple[socket.AddressFamily, _Address]

_LOOPBACK = {"udp": "127.0.0.1", "udp6": "::1", "tcp": "127.0.0.1"}


class Connection(NamedTuple):
    """A connected socket, and what it is connected to."""

    socket: socket.socket
    target: _Target


class PacketTooLong(Exception):
    """The network carries no packet of this length."""


def transport_for(endpoint: Endpoint, is_framed: bool = False) -> Transport:
    """Return the transport for an endpoint; nothing is opened yet.

    Args:
        endpoint: Where to send to.
        is_framed: Whether a packet on a unix stream follows its length.
    """
    if endpoint.is_datagram:
        return DatagramTransport(endpoint)
    return FramedTransport(endpoint) if is_framed and endpoint.path else StreamTransport(endpoint)


class Transport(ABC):
    """One socket to one server. Not thread-safe: the sender's lock guards it, but for `resolve`.

    Args:
        endpoint: Where to send to.

    Attributes:
        socket: The connected socket, or None.
        refusals: How often the system said that nobody had listened to an earlier datagram.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.socket: socket.socket | None = None
        self.refusals = 0
        self._target: _Target | None = None

    @property
    def opens_at_once(self) -> bool:
        """Whether `resolve` and `connect` neither look up a name nor wait for the server."""
        return self.endpoint.is_datagram and not self.needs_lookup

    @property
    def needs_lookup(self) -> bool:
        """Whether the endpoint is a name whose address may change."""
        if self.endpoint.path or self.endpoint.host == "localhost":
            return False
        try:
            ipaddress.ip_address(self.endpoint.host.partition("%")[0])
        except ValueError:
            return True
        return False

    def resolve(self) -> list[_Target]:
        """Find the addresses of the endpoint. May take as long as the resolver takes.

        Returns:
            Families and addresses, the preferred one first.

        Raises:
            OSError: There is none.
        """
        if self.endpoint.path:
            return [(socket.AF_UNIX, self.endpoint.path)]
        # RFC 6761 section 6.3: localhost is the loopback address, no resolver need be asked.
        scheme = self.endpoint.scheme
        host = _LOOPBACK[scheme] if self.endpoint.host == "localhost" else self.endpoint.host
        wanted = socket.AF_INET6 if scheme == "udp6" else socket.AF_UNSPEC
        kind = socket.SOCK_DGRAM if self.endpoint.is_datagram else socket.SOCK_STREAM
        try:
            found = socket.getaddrinfo(host, self.endpoint.port, wanted, kind)
        except UnicodeError as error:
            raise socket.gaierror(socket.EAI_NONAME, "no name that DNS could hold") from error
        # statsd servers listen on IPv4 unless told otherwise.
        found.sort(key=lambda entry: entry[0] != socket.AF_INET)
        return [(family, address) for family, _, _, _, address in found]

    def connect(self, targets: list[_Target], timeout: float) -> Connection | None:
        """Connect to the first target that answers. Changes nothing yet, so it needs no lock.

        Args:
            targets: What `resolve` returned.
            timeout: Seconds to wait for a server at most, for each target.

        Returns:
            What `adopt` takes; None where the open socket still leads to one of the targets.

        Raises:
            OSError: The last target's error.
        """
        if self.socket is not None and self._target in targets:
            return None
        last = len(targets) - 1
        for index, target in enumerate(targets):
            try:
                return Connection(self._connect(target, timeout), target)
            except OSError:  # noqa: PERF203  each target has its chance
                if index == last:
                    raise
        raise OSError(errno.EADDRNOTAVAIL, "the name has no address")

    def adopt(self, connection: Connection) -> None:
        """Use a connection from now on, in place of the one before."""
        self.close()
        self.socket, self._target = connection

    def wait_writable(self, timeout: float) -> None:
        """Wait until the socket may take more, or the time is over."""
        if self.socket is None:
            return
        with selectors.DefaultSelector() as selector:
            selector.register(self.socket, selectors.EVENT_WRITE)
            selector.select(timeout)

    def close(self) -> None:
        """Close the socket, if it is open."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    @abstractmethod
    def send(self, packet: bytes) -> bool:
        """Give a packet to the socket without waiting.

        Args:
            packet: Lines, joined with newlines.

        Returns:
            False where the socket is full: send the same packet again later.

        Raises:
            PacketTooLong: The network carries no packet of this length.
            OSError: The socket is of no more use; connect again and send the same packet again.
        """

    @abstractmethod
    def _connect(self, target: _Target, timeout: float) -> socket.socket: ...


class DatagramTransport(Transport):
    """UDP, UDP over IPv6 and unix datagrams: a packet is one datagram."""

    def send(self, packet: bytes) -> bool:
        """Send one datagram; see `Transport.send`."""
        assert self.socket is not None
        try:
            self.socket.send(packet)
        except BlockingIOError:
            return False
        except ConnectionRefusedError:
            if self.endpoint.path:
                raise
            # It is about an earlier datagram, this one was not tried yet.
            self.refusals += 1
            return self._send_again(packet)
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                return False
            if error.errno == errno.EMSGSIZE:
                raise PacketTooLong from error
            raise
        return True

    def _send_again(self, packet: bytes) -> bool:
        assert self.socket is not None
        try:
            self.socket.send(packet)
        except BlockingIOError:
            return False
        return True

    def _connect(self, target: _Target, timeout: float) -> socket.socket:
        family, address = target
        opened = socket.socket(family, socket.SOCK_DGRAM)
        try:
            opened.setblocking(False)
            opened.connect(address)
        except OSError:
            opened.close()
            raise
        return opened


class StreamTransport(Transport):
    """TCP and unix streams: each line ends with a newline; one that was cut off is sent again whole."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._written = 0
        self._kept = 0

    def send(self, packet: bytes) -> bool:
        """Write what the socket takes of a packet; see `Transport.send`."""
        assert self.socket is not None
        data = memoryview(self._wire(packet))
        try:
            self._raise_if_hung_up()
            while self._written < len(data):
                self._written += self.socket.send(data[self._written :])
        except OSError as error:
            self._kept = self._whole(packet, self._written)
            if isinstance(error, BlockingIOError):
                return False
            raise
        self._written = self._kept = 0
        return True

    def close(self) -> None:
        """Close the socket, and go back to the end of what the server could use of the packet."""
        super().close()
        self._written = self._kept

    def _wire(self, packet: bytes) -> bytes:
        """Return what is written for a packet."""
        return packet + b"\n"

    def _whole(self, packet: bytes, written: int) -> int:
        """Return how much of what was written need not be written again: whole lines."""
        return packet.rfind(b"\n", 0, written) + 1

    def _raise_if_hung_up(self) -> None:
        """Notice that the server closed the connection, before a packet goes into the void."""
        assert self.socket is not None
        try:
            if self.socket.recv(4096) == b"":
                raise ConnectionResetError(errno.ECONNRESET, "the server closed the connection")
        except BlockingIOError:
            return

    def _connect(self, target: _Target, timeout: float) -> socket.socket:
        family, address = target
        opened = socket.socket(family, socket.SOCK_STREAM)
        try:
            opened.settimeout(timeout)
            opened.connect(address)
            opened.setblocking(False)
        except OSError:
            opened.close()
            raise
        return opened


class FramedTransport(StreamTransport):
    """Unix streams as Datadog's agent reads them: each packet follows its length, and is sent again whole."""

    def _wire(self, packet: bytes) -> bytes:
        return len(packet).to_bytes(4, "little") + packet

    def _whole(self, packet: bytes, written: int) -> int:
        return 0
