"""Networks of their own: a namespace, joined to this host by a pair of interfaces.

    this host                        namespace
    pmf<id>a 10.213.x.y+1/30  =====  pmf<id>b 10.213.x.y+2/30

A blackhole as queueing discipline drops every packet that leaves by an interface: nothing is
refused, nothing is told, as when a cable is pulled somewhere on the way.  Both ends can have one,
so a loss may also be one-way.  A namespace may have a second link, so that it can lose one peer of
two.  Names carry the id of the process that made them; what a killed test left is removed by the
next.
"""

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from supervised_service import is_running

PREFIX = "pmf"
PROGRAMS = ("ip", "tc")
BLACKHOLE = ("blackhole",)


def why_not() -> str:
    """Why this host cannot have namespaces of ours, or ""."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"needs {' and '.join(missing)} (iproute2)"
    if os.geteuid() != 0:
        return "needs root, for a network namespace"
    made = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return "" if made.returncode == 0 else "this system allows no network namespace"


def run(*words: str, may_fail: bool = False) -> str:
    """Run a program to its end; return what it said."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    assert may_fail or done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


class Link:
    """A pair of interfaces, one end here, one in a namespace."""

    def __init__(self, network: str) -> None:
        number = secrets.randbelow(64 * 250)
        self.network = network
        ends = f"{PREFIX}{secrets.token_hex(4)}"
        self.outside, self.inside = f"{ends}a", f"{ends}b"
        net = f"10.213.{number // 64}.{number % 64 * 4}"
        base, _, last = net.rpartition(".")
        self.host_address = f"{base}.{int(last) + 1}"
        self.address = f"{base}.{int(last) + 2}"

    def join(self) -> None:
        """Make the pair."""
        inside = ("ip", "-n", self.network)
        run("ip", "link", "add", self.outside, "type", "veth", "peer", "name", self.inside)
        run("ip", "link", "set", self.inside, "netns", self.network)
        run("ip", "addr", "add", f"{self.host_address}/30", "dev", self.outside)
        run("ip", "link", "set", self.outside, "up")
        run(*inside, "addr", "add", f"{self.address}/30", "dev", self.inside)
        run(*inside, "link", "set", self.inside, "up")

    def part(self) -> None:
        """Remove the pair, if it is there."""
        run("ip", "link", "del", self.outside, may_fail=True)

    def lose(self, *, inwards: bool = True, outwards: bool = True) -> None:
        """Drop every packet from now on, in these directions, as seen from the namespace."""
        if inwards:
            self._outside(*BLACKHOLE)
        if outwards:
            self._inside(*BLACKHOLE)

    def slow(self, kilobits: int) -> None:
        """Let no more than so many kilobits a second pass inwards."""
        self._outside("tbf", "rate", f"{kilobits}kbit", "burst", "3000", "limit", "20000")

    def heal(self) -> None:
        """Lose nothing any more."""
        run("tc", "qdisc", "del", "dev", self.outside, "root", may_fail=True)
        inside = ("tc", "-n", self.network, "qdisc", "del", "dev", self.inside, "root")
        run(*inside, may_fail=True)

    def take_down(self) -> None:
        """Take the interface of this host down, as when an adapter is unplugged."""
        run("ip", "link", "set", self.outside, "down")

    def bring_up(self) -> None:
        run("ip", "link", "set", self.outside, "up")

    def lose_address(self) -> None:
        """This host has the address no more."""
        run("ip", "addr", "del", f"{self.host_address}/30", "dev", self.outside)

    def regain_address(self) -> None:
        run("ip", "addr", "add", f"{self.host_address}/30", "dev", self.outside)

    def _outside(self, *discipline: str) -> None:
        run("tc", "qdisc", "replace", "dev", self.outside, "root", *discipline)

    def _inside(self, *discipline: str) -> None:
        where = ("tc", "-n", self.network, "qdisc", "replace", "dev", self.inside, "root")
        run(*where, *discipline)


class Namespace(Link):
    """One network, and its first link to this host."""

    def __init__(self) -> None:
        self.name = f"{PREFIX}-{os.getpid()}-{secrets.token_hex(3)}"
        super().__init__(self.name)
        self._others: list[Link] = []

    def make(self) -> None:
        run("ip", "netns", "add", self.name)
        run("ip", "-n", self.name, "link", "set", "lo", "up")
        self.join()

    def another_link(self) -> Link:
        """Join it to this host a second time, by addresses of their own."""
        link = Link(self.name)
        self._others.append(link)
        link.join()
        return link

    def remove(self) -> None:
        """Leave nothing; what still runs inside keeps the namespace until it ends."""
        run("ip", "netns", "del", self.name, may_fail=True)
        for link in (self, *self._others):
            link.part()

    def command(self, *words: str) -> list[str]:
        """The words that run a program inside; the process is the program's own."""
        return ["ip", "netns", "exec", self.name, *words]


def remove_left_ones() -> None:
    """Remove namespaces whose test was killed."""
    folder = Path("/run/netns")
    for path in folder.iterdir() if folder.is_dir() else ():
        found = re.fullmatch(rf"{PREFIX}-(\d+)-[0-9a-f]+", path.name)
        if found and not is_running(int(found[1])):
            run("ip", "netns", "del", path.name, may_fail=True)


@contextmanager
def namespace() -> Iterator[Namespace]:
    """A namespace that is gone at the end; its interfaces go with it."""
    remove_left_ones()
    made = Namespace()
    try:
        made.make()
        yield made
    finally:
        made.remove()
