"""The admin API of a real service, asked as its callers do: over its socket, and with tokens."""

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from live.admin_fuzz import api_port, fuzz
from supervised_service import Place, Service, place

from pointsman_sched.console.admin.application import BODY_BYTES_MAX
from pointsman_sched.console.admin.doors import OPERATIONS, SOCKET_NAME

CHANGE = "c" * 30
READ = "r" * 30
EXAMPLES = {
    "explain": {"request_id": "r-1"},
}


class Served:
    """A service with an admin API, and its port on loopback."""

    def __init__(self, here: Place, service: Service) -> None:
        self.here = here
        self.service = service
        self.port = api_port(here)

    @asynccontextmanager
    async def session(self, *, over_tcp: bool = False) -> AsyncIterator[aiohttp.ClientSession]:
        path = str(self.here.runtime_dir / SOCKET_NAME)
        connector = None if over_tcp else aiohttp.UnixConnector(path=path)
        base = f"http://127.0.0.1:{self.port}" if over_tcp else "http://pointsman"
        timeout = aiohttp.ClientTimeout(total=20)
        async with aiohttp.ClientSession(base, connector=connector, timeout=timeout) as session:
            yield session

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, dict[str, Any]]:
        """One request over the socket: (status, body)."""
        async with self.session() as session, session.request(method, path, **more) as answer:
            return answer.status, await answer.json(content_type=None)

    async def with_token(
        self, token: str, path: str, method: str = "GET", **more: Any
    ) -> tuple[int, Any]:
        """One request over TCP: (status, body)."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with (
            self.session(over_tcp=True) as session,
            session.request(method, path, headers=headers, **more) as answer,
        ):
            return answer.status, await answer.json(content_type=None)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("api")
    tokens = folder / "tokens"
    tokens.write_text(f"# who may what\nops change {CHANGE}\nwall read {READ}\n")
    tokens.chmod(0o600)
    config = folder / "config.toml"
    secure = '[tls]\nenabled = true\nhost = "127.0.0.1"\nport = 0\n'
    config.write_text(f'{secure}[console]\napi_port = 0\napi_tokens_file = "{tokens}"\n')
    config.chmod(0o600)
    with place() as here:
        here.has_console = True
        with here.service("--workers", "2", "--config", str(config)) as service:
            service.ready()
            made = Served(here, service)
            yield made
            service.signal(signal.SIGTERM)
            assert service.ended() == 0
            assert CHANGE not in service.text()
            assert READ not in service.text()
        assert here.sockets() == []


def problem_of(body: dict[str, Any]) -> dict[str, Any]:
    """Whatever goes wrong says code, what, where and what to do."""
    assert set(body) == {"status", "title", "code", "detail", "instance", "todo"}
    assert all(body.values())
    return body


async def test_every_operation_that_reads_answers_as_its_document_says(served: Served) -> None:
    for operation in OPERATIONS:
        if operation.method != "GET" or operation.access != "read" or "{" in operation.path:
            continue
        asked = EXAMPLES.get(operation.name, {})
        status, body = await served.ask("GET", operation.path, params=asked)
        if operation.name == "explain":
            assert (status, body["code"]) == (404, "NOT_FOUND")
            continue
        assert status == 200, (operation.name, body)
        answer = msgspec.convert(body, operation.answer)
        assert isinstance(answer, operation.answer)
        assert set(body) - {"type"} == set(operation.answer.__struct_fields__), "nothing left out"


async def test_the_document_is_served_and_names_every_operation(served: Served) -> None:
    status, document = await served.ask("GET", "/openapi.json")
    assert (status, document["openapi"]) == (200, "3.1.0")
    named = {o["operationId"] for path in document["paths"].values() for o in path.values()}
    assert named == {operation.name for operation in OPERATIONS}
    text = json.dumps(document)
    for reference in set(re.findall(r"#/components/schemas/(\w+)", text)):
        assert reference in document["components"]["schemas"]


async def test_where_a_job_would_go_is_told_for_a_body(served: Served) -> None:
    ask = {"services": ["nmt"], "src_lang": "en", "tgt_lang": "es"}
    status, body = await served.ask("POST", "/v1/where", json={"ask": ask})
    assert status == 200
    assert body["decision"]["breakdown"]["best_reason"] == "no_nodes"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/nodes?limit=0", "limit"),
        ("/v1/nodes?limit=501", "limit"),
        ("/v1/nodes?limit=x", "limit"),
        ("/v1/nodes?limit=1&limit=2", "limit"),
        ("/v1/nodes?cursor=nonsense", "cursor"),
        ("/v1/nodes?no_such=1", ""),
        ("/v1/explain", ""),
        ("/v1/reasons?minutes=61", "minutes"),
    ],
)
async def test_a_query_that_says_something_impossible_is_a_400(
    served: Served, path: str, field: str
) -> None:
    status, body = await served.ask("GET", path)
    assert (status, problem_of(body)["status"]) == (400, 400)
    _, _, named = body["instance"].partition("#")
    assert named == field


@pytest.mark.parametrize(
    "data",
    [
        *(b"{", b"[]", b'{"ask": 1}', b'{"ask": {}, "more": 1}', b"[" * 30_000),
        *(b"\xff", b'{"ask": {"tenant": "\xff"}}'),
    ],
)
async def test_a_body_that_is_not_what_was_asked_for_is_a_400(served: Served, data: bytes) -> None:
    status, body = await served.ask("POST", "/v1/where", data=data)
    assert status == 400
    problem_of(body)


async def test_a_body_that_is_too_large_is_a_413(served: Served) -> None:
    status, body = await served.ask("POST", "/v1/where", data=b" " * (BODY_BYTES_MAX + 1))
    assert (status, problem_of(body)["code"]) == (413, "REQUEST_ENTITY_TOO_LARGE")


async def test_what_is_not_there_is_a_404_and_another_method_a_405(served: Served) -> None:
    assert (await served.ask("GET", "/v1/no-such"))[0] == 404
    status, body = await served.ask("GET", "/v1/nodes/no-such")
    assert (status, problem_of(body)["code"]) == (404, "NOT_FOUND")
    status, body = await served.ask("DELETE", "/v1/nodes")
    assert (status, problem_of(body)["status"]) == (405, 405)
    status, body = await served.ask("GET", "/v1/nodes/no-such/why-not")
    assert status == 404


async def test_over_tcp_only_a_token_opens_and_one_that_reads_reads(served: Served) -> None:
    """U4: the API on loopback TCP only if asked for, with a token."""
    for token in ("", "x" * 30, CHANGE[:-1], CHANGE + "c"):
        status, body = await served.with_token(token, "/v1/status")
        assert (status, problem_of(body)["code"]) == (401, "UNAUTHORIZED")
    assert (await served.with_token("", "/openapi.json"))[0] == 401
    for token in (READ, CHANGE):
        assert (await served.with_token(token, "/v1/status"))[0] == 200


async def test_without_groups_every_admin_socket_is_its_owners(served: Served) -> None:
    """U4: who may ask is said by a group, and none is named here."""
    directory: Path = served.here.runtime_dir
    sockets = [directory / SOCKET_NAME, *directory.glob("admin-*.sock")]
    assert len(sockets) == 6
    assert {path.stat().st_mode & 0o777 for path in sockets} == {0o600}
    assert directory.stat().st_mode & 0o077 == 0


async def test_the_public_port_has_no_admin_api(served: Served) -> None:
    [line] = [line for line in served.service.said if line.startswith("pointsman ready")]
    port = int(re.findall(r"127\.0\.0\.1:(\d+)", line)[0])
    url = f"http://127.0.0.1:{port}/v1/nodes"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 404


async def test_many_questions_at_once_are_all_answered(served: Served) -> None:
    answers = await asyncio.gather(*(served.ask("GET", "/v1/status") for _ in range(40)))
    assert all(status == 200 for status, _ in answers)


# ---- changes


async def test_a_token_that_reads_changes_nothing_and_the_attempt_is_written_down(
    served: Served,
) -> None:
    """U4: read-only and dangerous requests are split, and every one of the latter is audited."""
    status, body = await served.with_token(READ, "/v1/pause", "POST")
    assert (status, problem_of(body)["code"]) == (403, "FORBIDDEN")
    assert not (await served.ask("GET", "/v1/pools"))[1]["paused"]
    _, audit = await served.ask("GET", "/v1/audit")
    line = next(line for line in audit["lines"] if line["process"] == "console")
    assert (line["who"], line["order"]) == ("token wall", "pause")
    assert line["outcome"].startswith("refused")


async def test_orders_are_carried_out_and_written_down_with_who_gave_them(served: Served) -> None:
    status, body = await served.with_token(CHANGE, "/v1/pause", "POST")
    assert (status, body["words"]) == (200, "new jobs are refused; those that were accepted go on")
    assert (await served.ask("GET", "/v1/pools"))[1]["paused"]
    status, _ = await served.ask("POST", "/v1/resume")
    assert status == 200
    status, body = await served.ask("POST", "/v1/resume")
    assert (status, problem_of(body)["code"]) == (409, "CONFLICT")
    _, audit = await served.ask("GET", "/v1/audit")
    found = [line for line in audit["lines"] if line["process"] == "manager"]
    again, resumed, paused = found[:3]
    assert paused["who"].startswith("token ops, through uid ")
    assert (paused["order"], paused["outcome"]) == ("pause_order", "done")
    assert f"uid {os.geteuid()} " in resumed["who"]
    assert f"pid {os.getpid()}" in resumed["who"]
    assert again["outcome"].startswith("CONFLICT")


async def test_a_worker_is_drained_and_undrained(served: Served) -> None:
    assert (await served.ask("POST", "/v1/workers/1/drain"))[0] == 200
    assert (await served.ask("POST", "/v1/workers/1/undrain"))[0] == 200
    assert (await served.ask("POST", "/v1/workers/2/drain"))[0] == 404
    assert (await served.ask("POST", "/v1/workers/x/drain"))[0] == 404


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v1/nodes/no-such/drain", {}, 404),
        ("/v1/nodes/no-such/undrain", {}, 404),
        ("/v1/nodes/no-such/quarantine", {}, 404),
        ("/v1/nodes/no-such/release", {}, 404),
        ("/v1/nodes/no-such/pair", {}, 404),
        ("/v1/nodes/no-such/drain", {"deadline_s": -1}, 400),
        ("/v1/nodes/no-such/drain", {"no_such": 1}, 400),
        ("/v1/pools/9999/drain", {}, 404),
        ("/v1/pools/9999/pause", {}, 404),
        ("/v1/pools/x/pause", {}, 400),
        ("/v1/pools/99999/resume", {}, 400),
        ("/v1/jobs/cancel", {"session_id": "s", "request_id": "r"}, 404),
        ("/v1/jobs/cancel", {"session_id": "s"}, 400),
    ],
)
async def test_orders_for_what_is_not_there_say_so(
    served: Served, path: str, body: dict[str, Any], expected: int
) -> None:
    status, problem = await served.ask("POST", path, json=body)
    assert status == expected
    problem_of(problem)


async def test_a_client_token_is_issued_once_listed_without_its_secret_and_revoked(
    served: Served,
) -> None:
    """A1: only its hash is kept; who had it made is written down, and what it is nowhere."""
    wish = {"tenant": "acme", "scopes": ["submit"], "lasts_s": 60, "note": "the shop"}
    assert (await served.with_token(READ, "/v1/tokens", "POST"))[0] == 403
    status, made = await served.ask("POST", "/v1/tokens", json=wish)
    assert status == 200
    about = made["about"]
    assert (about["tenant"], about["scopes"], about["expired"]) == ("acme", ["submit"], False)
    status, listed = await served.with_token(READ, "/v1/tokens")
    assert [line["id"] for line in listed["tokens"]] == [about["id"]]
    assert made["token"] not in json.dumps(listed)
    gone = f"/v1/tokens/{about['id']}/revoke"
    assert (await served.ask("POST", gone)) == (200, {"revoked": about["id"]})
    assert (await served.ask("GET", "/v1/tokens"))[1] == {"tokens": []}
    status, body = await served.ask("POST", gone)
    assert (status, problem_of(body)["code"]) == (404, "NOT_FOUND")
    _, audit = await served.ask("GET", "/v1/audit")
    orders = [line["order"] for line in audit["lines"] if line["process"] == "console"]
    assert orders[:4] == ["revoke_token", "revoke_token", "issue_token", "issue_token"]
    assert made["token"] not in json.dumps(audit)
    impossible = {"tenant": "acme", "scopes": ["everything"]}
    assert (await served.ask("POST", "/v1/tokens", json=impossible))[0] == 400


async def test_a_node_is_introduced_and_its_name_revoked(served: Served) -> None:
    """E2: the secret is told once, for one name; who asked for it is written down."""
    status, told = await served.with_token(CHANGE, "/v1/enrol", "POST", json={"name": "attic"})
    assert (status, told["name"], told["expires_in_s"]) == (200, "attic", 300.0)
    assert told["pin"].startswith("sha256:")
    status, body = await served.ask("POST", "/v1/nodes/attic/revoke")
    assert (status, problem_of(body)["code"]) == (404, "NOT_FOUND")
    _, audit = await served.ask("GET", "/v1/audit")
    [line] = [line for line in audit["lines"] if line["order"] == "enrol_order"]
    assert line["who"].startswith("token ops, through uid ")
    assert told["secret"] not in json.dumps(audit)


async def test_the_level_of_logs_is_changed_in_one_process_or_in_all(served: Served) -> None:
    asked = {"level": "debug", "process": "worker-1"}
    status, body = await served.ask("POST", "/v1/log-level", json=asked)
    assert status == 200
    assert [(one["process"], one["level"], one["before"]) for one in body["levels"]] == [
        ("worker-1", "debug", "info")
    ]
    status, body = await served.ask("POST", "/v1/log-level", json={"level": "info"})
    everybody = {"manager", "worker-0", "worker-1", "console", "supervisor"}
    assert {one["process"] for one in body["levels"]} == everybody
    assert body["no_answer"] == {}
    asked = {"level": "info", "process": "worker-9"}
    assert (await served.ask("POST", "/v1/log-level", json=asked))[0] == 404


async def test_a_reload_says_what_it_changed(served: Served) -> None:
    status, body = await served.ask("POST", "/v1/reload")
    assert status == 200
    assert (body["type"], body["changes"]) == ("config_diff", [])


# ---- last: it orders whatever there is to order


@pytest.mark.slow
def test_requests_made_from_the_document_get_what_it_promises(
    served: Served, tmp_path: Path
) -> None:
    """schemathesis: no answer of ours contradicts the document; more in `make admin-fuzz`."""
    # One thread: two cost more than twice as much, as they wait for each other all the time.
    options = ("-n", "1", "--phases", "fuzzing", "-w", "1", "--seed", "1")
    done = fuzz(served.port, CHANGE, tmp_path, *options)
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    assert "Tested: " in done.stdout
