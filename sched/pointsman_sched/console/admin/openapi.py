"""The OpenAPI 3.1 document of the admin API, made from the operations and their structs."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from pointsman_sched.console.admin.operations import Operation
from pointsman_sched.console.admin.problems import MEDIA_TYPE, Problem

_PATH_PARAMETER = re.compile(r"\{(\w+)\}")
_REFERENCE = "#/components/schemas/{name}"
_ID = {"type": "string", "minLength": 1, "maxLength": 128}
_PATH_SCHEMAS = {
    "pool": {"type": "integer", "minimum": 0, "maximum": 65_535},
    "worker": {"type": "integer", "minimum": 0, "maximum": 63},
    "token_id": {"type": "string", "pattern": "^[0-9a-f]{8}$"},
}
_TITLE = "The admin API of Pointsman"
_ABOUT = (
    "What operators see and order. Over a unix socket the kernel says who calls; on loopback TCP "
    "a bearer token does. Anything that goes wrong is told as RFC 9457 says."
)


def openapi_document(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """Return the document, as JSON takes it."""
    bodies = [operation.body for operation in operations if operation.body is not None]
    structs = [*(operation.answer for operation in operations), *bodies, Problem]
    _, components = msgspec.json.schema_components(
        [*dict.fromkeys(structs)], ref_template=_REFERENCE
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": _TITLE, "version": version, "description": _ABOUT},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _operation(operation: Operation) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.access],
        "parameters": [*_path_parameters(operation.path), *_query_parameters(operation.query)],
        "responses": {
            "200": _content("It was done.", operation.answer, "application/json"),
            "default": _content("It was not, and why.", Problem, MEDIA_TYPE),
        },
    }
    if operation.body is not None:
        content = _content("", operation.body, "application/json")["content"]
        is_required = any(field.required for field in msgspec.structs.fields(operation.body))
        made["requestBody"] = {"required": is_required, "content": content}
    return made


def _content(words: str, struct: type[msgspec.Struct], media_type: str) -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(name=struct.__name__)}
    return {"description": words, "content": {media_type: {"schema": schema}}}


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _PATH_SCHEMAS.get(name, _ID)}
        for name in _PATH_PARAMETER.findall(path)
    ]


def _query_parameters(struct: type[msgspec.Struct]) -> list[dict[str, Any]]:
    _, components = msgspec.json.schema_components([struct], ref_template=_REFERENCE)
    described = components[struct.__name__]
    required = described.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": schema}
        for name, schema in described["properties"].items()
    ]
