"""A node in plain sockets: it "translates" English to Spanish by shouting.

    python examples/plain_sockets/tiny_node.py 127.0.0.1:7400

One thread for the control connection, one for each lane.  It remembers its id and its fences
only while it runs: a node whose jobs have effects outside keeps them on disk.
"""

import signal
import sys
import threading
import time
from typing import Any

from plain_wire import CONTROL, LANE, Connection, Refused, wait_s

SEEN_MAX = 10_000


class Node:
    """What outlives a registration: identity, fences, and the one slot."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.identity: dict[str, Any] = {"node_id": "", "key": ""}
        self.instance_uid = ""
        self.epochs: dict[int, int] = {}  # shard -> highest epoch
        self.seen: dict[tuple[int, str], tuple[int, int]] = {}  # job -> highest fence
        # shard -> results that no worker has acknowledged: (fence as in job_fence, fields, payload)
        self.held: dict[int, list[tuple[list[Any], dict[str, Any], bytes]]] = {}
        self.slot = threading.Lock()

    def run(self) -> None:
        """Stay registered until interrupted."""
        failures = 0
        while True:
            started = time.monotonic()
            try:
                Registration(self).run()
            except (OSError, Refused) as error:
                told = error.told if isinstance(error, Refused) else {"retryable": True}
                if not told.get("retryable"):
                    sys.exit(f"refused: {error}")
                print(f"registering again: {error}", file=sys.stderr)
                failures = 0 if time.monotonic() - started > 5 else failures + 1
                time.sleep(wait_s(0.5, 30, failures) + (told.get("retry_after_ms") or 0) / 1000)


class Registration:
    """One control connection and the lanes that belong to it."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.is_over = threading.Event()
        self.lanes: dict[int, Connection] = {}
        self.ready = threading.Semaphore(0)
        self.control = Connection(node.address, CONTROL)

    def run(self) -> None:
        """Register, open the lanes, send heartbeats; raises when any of that ends."""
        threads: list[threading.Thread] = []
        try:
            answer = self._register()
            for shard in range(answer.get("worker_count", 1)):
                threads.append(threading.Thread(target=self._keep_lane, args=(shard, answer)))
                threads[-1].start()
            for _ in threads:
                if not self.ready.acquire(timeout=15):
                    raise ConnectionError("a lane could not be opened")
            self.control.send("lanes_ready")
            self._beat(answer.get("heartbeat_interval_s", 1.0))
        except KeyboardInterrupt:
            self.control.send("leave", reason="interrupted")
            raise
        finally:
            self.is_over.set()
            for connection in [self.control, *self.lanes.values()]:
                connection.close()
            for thread in threads:
                thread.join()

    def _register(self) -> dict[str, Any]:
        node = self.node
        self.control.send(
            "register",
            **node.identity,
            services=[{"id": "shouting", "kind": "nmt"}],
            nmt={"pairs": [["en", "es"]]},
            max_concurrency=1,
        )
        answer, _ = self.control.receive(10)
        if answer["type"] != "registered":
            raise Refused(answer["error"])
        key = answer.get("key") or node.identity["key"]
        node.identity = {"node_id": answer["node_id"], "key": key}
        if answer["instance_uid"] != node.instance_uid:
            node.instance_uid = answer["instance_uid"]
            node.epochs, node.seen, node.held = {}, {}, {}
        return answer

    def _beat(self, interval_s: float) -> None:
        number, heard_at, is_told = 0, time.monotonic(), False
        while time.monotonic() - heard_at < 4 * interval_s and not self.is_over.is_set():
            number += 1
            self.control.send("heartbeat", number=number, running=int(self.node.slot.locked()))
            next_at = time.monotonic() + interval_s
            while (left_s := next_at - time.monotonic()) > 0:
                try:
                    header, _ = self.control.receive(left_s)
                except TimeoutError:
                    break
                if header["type"] == "heartbeat_ack":
                    heard_at = time.monotonic()
                    interval_s = header.get("heartbeat_interval_s") or interval_s
                elif header["type"] == "error" and not header["error"].get("retryable"):
                    raise Refused(header["error"])
                if header.get("state") == "ready" and not is_told:
                    is_told = True
                    print(f"ready: {self.node.identity['node_id']}", flush=True)
        raise ConnectionError("the server does not answer, or refused a lane")

    # ---- one lane

    def _keep_lane(self, shard: int, answer: dict[str, Any]) -> None:
        failures = 0
        while not self.is_over.is_set():
            started = time.monotonic()
            try:
                self._lane(shard, answer)
            except (OSError, Refused) as error:
                if isinstance(error, Refused) and not error.told.get("retryable"):
                    self.is_over.set()  # the ticket is out of date: register again
                if not self.is_over.is_set():
                    print(f"lane {shard}: {error}", file=sys.stderr)
            failures = 0 if time.monotonic() - started > 5 else failures + 1
            self.is_over.wait(wait_s(0.1, 30, failures))

    def _lane(self, shard: int, answer: dict[str, Any]) -> None:
        lane = self.lanes[shard] = Connection(self.node.address, LANE, shard)
        if self.is_over.is_set():
            lane.close()
            return
        named = {name: answer.get(name, 0) for name in ("node_id", "row", "generation", "epoch")}
        lane.send("lane_open", **named, ticket=answer["lane_ticket"])
        header, _ = lane.receive(10)
        if header["type"] != "lane_accepted":
            raise Refused(header["error"])
        if header["epoch"] < self.node.epochs.get(shard, 0):
            raise ConnectionError("this worker was replaced by a newer one")
        self.node.epochs[shard] = header["epoch"]
        held = self.node.held.setdefault(shard, [])
        lane.send("lane_report", held=[fence for fence, _, _ in held])
        for number, (_, fields, payload) in enumerate(held, 1):
            lane.send("node_result", payload, number=number, **fields)
        self.ready.release()
        Lane(self.node, lane, shard, len(held)).serve()


class Lane:
    """A lane that stands: jobs in, results out."""

    def __init__(self, node: Node, connection: Connection, shard: int, results_sent: int) -> None:
        self.node = node
        self.connection = connection
        self.shard = shard
        self.epoch = node.epochs[shard]
        self.held = node.held[shard]
        self.last_read = 0
        self.results_sent = results_sent
        self.results_acked = 0

    def serve(self) -> None:
        """Answer every message; raises OSError when the connection ends."""
        while True:
            try:
                header, payload = self.connection.receive(3600)
            except TimeoutError:
                continue
            if header["type"] == "assign":
                self._assigned(header, payload)
            elif header["type"] == "node_result_ack":
                del self.held[: header["number"] - self.results_acked]
                self.results_acked = header["number"]
            elif header["type"] == "cancel_job":
                self._cancelled(header)
            elif header["type"] == "lane_ping":
                number = header.get("number", 0)
                self.connection.send("lane_pong", number=number, last_read=self.last_read)

    def _assigned(self, header: dict[str, Any], payload: bytes) -> None:
        if header["number"] <= self.last_read:
            return
        if header["number"] != self.last_read + 1:
            raise ConnectionError(f"assignment {header['number']} came after {self.last_read}")
        self.last_read = header["number"]
        self.connection.send("assign_ack", number=self.last_read)
        fence = {"job_id": header["job_id"], "epoch": self.epoch, "dispatch": header["dispatch"]}
        job = (self.shard, header["job_id"])
        highest = self.node.seen.get(job, (-1, -1))
        if (self.epoch, header["dispatch"]) <= highest:
            if (self.epoch, header["dispatch"]) < highest:
                self.connection.send("job_refused", **fence, code="STALE")
            return
        self.node.seen[job] = (self.epoch, header["dispatch"])
        if len(self.node.seen) > SEEN_MAX:
            del self.node.seen[next(iter(self.node.seen))]
        with self.node.slot:
            done = payload.decode(errors="replace").upper().encode()
        request = [
            header.get(name, "") for name in ("tenant", "session_id", "request_id", "origin")
        ]
        self._hold([*fence.values(), *request], {**fence, "content_type": "text/plain"}, done)

    def _cancelled(self, header: dict[str, Any]) -> None:
        """Nothing runs while this thread reads: the job has ended, or it never came."""
        fence = {name: header[name] for name in ("job_id", "epoch", "dispatch")}
        if all(told[:3] != list(fence.values()) for told, _, _ in self.held):
            self._hold([*fence.values(), "", "", ""], {**fence, "status": "cancelled"}, b"")

    def _hold(self, fence: list[Any], fields: dict[str, Any], payload: bytes) -> None:
        """Send a result and keep it until it is acknowledged."""
        self.held.append((fence, fields, payload))
        self.results_sent += 1
        self.connection.send("node_result", payload, number=self.results_sent, **fields)


def main() -> None:
    """Serve until interrupted or terminated."""
    if len(sys.argv) != 2:
        sys.exit("usage: tiny_node.py HOST:PORT")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        Node(sys.argv[1]).run()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
