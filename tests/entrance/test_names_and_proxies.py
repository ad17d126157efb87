"""X1: pages under foreign names, and proxies that make everybody local, are answered nothing."""

import pytest
from starlette.requests import Request

from pointsman_sched.console.guard import PROXIED, WRONG_NAME, Guard
from pointsman_sched.console.process import guard_of
from pointsman_shm.config import Config, ServerConfig, WebConfig
from pointsman_shm.tokens.settings import AuthConfig

HERE = ("127.0.0.1", 50_000)
THERE = ("192.168.1.9", 50_000)


def fault(
    guard: Guard,
    *headers: tuple[str, str],
    client: tuple[str, int] | None = HERE,
    path: str = "/",
) -> str:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    return guard.fault(Request({"type": "http", "path": path, "headers": raw, "client": client}))


@pytest.mark.parametrize(
    ("host", "is_answered"),
    [
        ("localhost:7400", True),
        ("LOCALHOST", True),
        ("127.0.0.1:7400", True),
        ("[::1]:7400", True),
        ("192.168.1.5:7400", True),
        ("speech.example.org:7400", True),
        ("rebound.example:7400", False),
        ("localhost.rebound.example", False),
        ("speech.example.org.rebound.example", False),
        ("", False),
        ("[::1", False),
        ("localhost@rebound.example", False),
        ("rebound.example:80\\@localhost", False),
        ("user@localhost", False),
        ("localhost/rebound.example", False),
        ("[::1]rebound.example", False),
    ],
)
@pytest.mark.parametrize("client", [HERE, THERE])
def test_x1_the_console_answers_under_its_own_names_alone(
    host: str, is_answered: bool, client: tuple[str, int]
) -> None:
    config = Config(
        server=ServerConfig(host="192.168.1.5"),
        web=WebConfig(allowed_hosts=("speech.example.org",)),
    )
    guard = guard_of(config)
    assert fault(guard, ("Host", host), client=client) == ("" if is_answered else WRONG_NAME)
    assert fault(guard, ("Host", host), client=None) == "", "TLS has proven its name"


def test_x1_two_names_are_none_and_a_star_allows_all() -> None:
    two = [("Host", "localhost"), ("Host", "rebound.example")]
    assert fault(Guard(), *two) == WRONG_NAME
    assert fault(Guard(("*",)), ("Host", "rebound.example")) == ""


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "X-Real-IP"])
def test_x1_what_a_proxy_of_this_host_passes_on_is_answered_only_where_everybody_needs_a_token(
    header: str,
) -> None:
    passed_on = [("Host", "localhost"), (header, "203.0.113.7")]
    assert fault(Guard(), *passed_on) == PROXIED
    assert fault(Guard(), *passed_on, client=THERE) == ""
    strict = guard_of(Config(auth=AuthConfig(loopback="required")))
    assert fault(strict, *passed_on) == ""


@pytest.mark.parametrize("path", ["/live", "/ready", "/healthz"])
def test_x1_a_proxy_may_ask_whether_the_service_is_well(path: str) -> None:
    asked = [("Host", "localhost"), ("X-Forwarded-For", "203.0.113.7")]
    assert fault(Guard(), *asked, path=path) == ""
    assert fault(Guard(), *asked, path=f"{path}/x") == PROXIED
