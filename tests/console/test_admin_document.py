"""What the admin API says of itself, and who it lets in: the pure parts."""

import json
from collections import Counter

import pytest

from pointsman_sched.console.admin.application import complete
from pointsman_sched.console.admin.callers import (
    TOKENS_MAX,
    Caller,
    by_token,
    check_access,
    parse_tokens,
)
from pointsman_sched.console.admin.doors import OPERATIONS
from pointsman_sched.console.admin.openapi import openapi_document
from pointsman_sched.console.admin.problems import ApiError, refused
from pointsman_shm.config_load import ConfigError
from pointsman_wire.admin_messages import NodeLine
from pointsman_wire.errors import Code
from pointsman_wire.messages import error_info

SECRET = "s" * 22


def test_operations_have_names_of_their_own_and_only_posts_change_anything() -> None:
    assert max(Counter(operation.name for operation in OPERATIONS).values()) == 1
    routes = Counter((operation.method, operation.path) for operation in OPERATIONS)
    assert max(routes.values()) == 1
    assert {o.method for o in OPERATIONS if o.access == "change"} == {"POST"}
    assert all(operation.access in ("read", "change") for operation in OPERATIONS)


def test_the_document_describes_every_parameter_and_refuses_others() -> None:
    document = openapi_document(OPERATIONS, "1.2.3")
    schemas = document["components"]["schemas"]
    json.dumps(document)
    for operation in OPERATIONS:
        said = document["paths"][operation.path][operation.method.lower()]
        named = {parameter["name"] for parameter in said["parameters"]}
        assert set(operation.query.__struct_fields__) <= named
        assert operation.answer.__name__ in schemas
        if operation.body is not None:
            assert schemas[operation.body.__name__]["additionalProperties"] is False


def test_answers_have_every_field_those_at_their_default_too() -> None:
    assert set(complete(NodeLine(node_id="n"))) == set(NodeLine.__struct_fields__)


def test_a_line_of_the_tokens_file_is_a_name_a_right_and_a_token() -> None:
    tokens = parse_tokens(f"# comment\n\nops change {SECRET}\nwall read {SECRET}x\n")
    assert [(token.name, token.access) for token in tokens] == [("ops", "change"), ("wall", "read")]
    assert SECRET not in repr(tokens)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"ops {SECRET}", "line 1: write NAME"),
        (f"\nops write {SECRET}", "line 2: ops may either"),
        (f"o/s read {SECRET}", "line 1: write NAME"),
        (f"ops read {SECRET[1:]}", "fewer than 22"),
        (f"a read {SECRET}\n" * (TOKENS_MAX + 1), "at most"),
    ],
)
def test_a_tokens_file_that_is_wrong_is_refused_without_telling_its_secrets(
    text: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        parse_tokens(text)
    assert SECRET[1:] not in str(caught.value)


def test_only_the_very_token_is_taken() -> None:
    tokens = parse_tokens(f"ops change {SECRET}\nwall read {'w' * 22}")
    assert by_token(f"Bearer {SECRET}", tokens).who == "token ops"
    assert by_token(f"bearer {'w' * 22}", tokens).access == "read"
    for header in ("", "Bearer", f"Basic {SECRET}", f"Bearer {SECRET}x", f"Bearer {SECRET[:-1]}"):
        with pytest.raises(ApiError) as caught:
            by_token(header, tokens)
        assert caught.value.status == 401


@pytest.mark.parametrize(
    ("access", "may_read", "may_change"),
    [("none", False, False), ("read", True, False), ("change", True, True)],
)
def test_who_may_read_may_not_change(access: str, may_read: bool, may_change: bool) -> None:
    """U4: read-only and dangerous requests are split."""
    caller = Caller(who="somebody", access=access)  # type: ignore[arg-type]
    for needed, may in (("read", may_read), ("change", may_change)):
        if may:
            check_access(caller, needed)  # type: ignore[arg-type]
            continue
        with pytest.raises(ApiError) as caught:
            check_access(caller, needed)  # type: ignore[arg-type]
        assert caught.value.status == 403


@pytest.mark.parametrize("code", list(Code))
def test_every_error_of_a_process_has_a_status_and_says_what_to_do(code: Code) -> None:
    error = refused(error_info(code, "it does not go"))
    problem = error.problem("/v1/x")
    assert 400 <= problem.status < 600
    assert problem.code == code.value
    assert problem.todo
