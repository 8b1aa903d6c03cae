"""The API's own description, OpenAPI 3.1, put together from what stands beside the code that answers.

A handler declares with ``operation`` what it reads and answers: parameters by the model that refuses wrong ones,
answers by the type that the code is checked against. Which paths there are, the routes say.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeAlias, TypeVar

import msgspec
from aiohttp import hdrs, web
from pydantic import BaseModel

from emag_syncd import __version__
from emag_syncd.web.answers import PROBLEM, Problem
from emag_syncd.web.parameters import JSON

COMPONENTS = "#/components/schemas/"

Schema: TypeAlias = dict[str, Any]
F = TypeVar("F", bound=Callable[..., Any])

_OF_QUERY = (HTTPStatus.UNPROCESSABLE_ENTITY,)
_OF_BODY = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
_OF_ALL = (HTTPStatus.FORBIDDEN, HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE)
_WITH_TOKEN = (HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS)
_WITHOUT_TOKEN = (HTTPStatus.MISDIRECTED_REQUEST,)

_PATHS: Mapping[str, Schema] = {
    "sync_id": {"type": "string", "format": "uuid"},
    "account": {"type": "string", "minLength": 1},
    "emag_id": {"type": "integer", "minimum": 0},
}
"""What stands in paths; what is not of this kind is simply not found."""


@dataclass(frozen=True, slots=True)
class Text:
    """An answer that is no JSON."""

    content_type: str


@dataclass(frozen=True, slots=True)
class _Operation:
    summary: str
    answers: Mapping[int, Any]
    problems: Mapping[int, str]
    query: type[BaseModel] | None
    body: type[BaseModel] | None
    headers: Mapping[str, str]


_OPERATIONS: dict[Callable[..., Any], _Operation] = {}


def operation(
    summary: str,
    *,
    answers: Mapping[int, Any],
    problems: Mapping[int, str] | None = None,
    query: type[BaseModel] | None = None,
    body: type[BaseModel] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Callable[[F], F]:
    """Declare what a handler reads and answers.

    ``answers`` are types, or ``Text``, by status; ``problems`` says when it answers with an error of its own.
    """

    def declare(handler: F) -> F:
        _OPERATIONS[handler] = _Operation(summary, answers, problems or {}, query, body, headers or {})
        return handler

    return declare


def document(routes: Iterable[web.AbstractRoute], *, cookie: str | None) -> Schema:
    """Return the description of those of ``routes`` that are declared; ``cookie`` is the session's, if there is one."""
    found = [
        (route.resource.canonical, route.method.lower(), declared)
        for route in routes
        if route.resource is not None and route.method != hdrs.METH_HEAD and (declared := declared_of(route))
    ]
    types = {kind for _, _, one in found for kind in one.answers.values() if not isinstance(kind, Text)}
    components = _Components([Problem, *sorted(types, key=str)])
    paths: dict[str, dict[str, Schema]] = {}
    for path, method, declared in sorted(found, key=lambda one: one[:2]):
        paths.setdefault(path, {})[method] = _operation(path, method, declared, components, has_token=bool(cookie))
    described: Schema = {
        "openapi": "3.1.0",
        "info": {"title": "emag-syncd", "version": __version__, "license": {"name": "MIT", "identifier": "MIT"}},
        "paths": paths,
        "components": {"schemas": components.schemas},
    }
    if cookie:
        described["components"]["securitySchemes"] = {
            "token": {"type": "http", "scheme": "bearer"},
            "session": {"type": "apiKey", "in": "cookie", "name": cookie},
        }
        described["security"] = [{"token": []}, {"session": []}]
    return described


def declared_of(route: web.AbstractRoute) -> _Operation | None:
    """Return what the handler of ``route`` declares."""
    return _OPERATIONS.get(getattr(route.handler, "__func__", route.handler))


class _Components:
    """The named schemas."""

    def __init__(self, types: Iterable[Any]) -> None:
        kinds = list(types)
        schemas, self.schemas = msgspec.json.schema_components(kinds, ref_template=f"{COMPONENTS}{{name}}")
        self._by_type = dict(zip(kinds, schemas, strict=True))

    def of(self, kind: Any) -> Schema:
        """Return the schema of an answer."""
        schema: Schema = self._by_type[kind]
        return schema

    def of_model(self, model: type[BaseModel]) -> Schema:
        """Return the schema of parameters; what it refers to becomes a component."""
        schema = model.model_json_schema(ref_template=f"{COMPONENTS}{{model}}")
        self.schemas |= schema.pop("$defs", {})
        return schema


def _operation(path: str, method: str, declared: _Operation, components: _Components, *, has_token: bool) -> Schema:
    described: Schema = {
        "operationId": _operation_id(path, method),
        "summary": declared.summary,
        "responses": _responses(declared, components, has_token=has_token),
    }
    if parameters := [*_of_path(path), *_of_query(declared, components), *_of_headers(declared)]:
        described["parameters"] = parameters
    if declared.body:
        name = declared.body.__name__
        components.schemas[name] = components.of_model(declared.body)
        described["requestBody"] = {
            "required": any(field.is_required() for field in declared.body.model_fields.values()),
            "content": {JSON: {"schema": {"$ref": COMPONENTS + name}}},
        }
    return described


def _operation_id(path: str, method: str) -> str:
    words = path.replace("{", "").replace("}", "").replace("-", "_").replace(".", "_").split("/")
    return "_".join([method, *(words[5:] or words[-1:])])


def _responses(declared: _Operation, components: _Components, *, has_token: bool) -> Schema:
    found: dict[int, Schema] = {}
    for status, kind in declared.answers.items():
        content_type = kind.content_type if isinstance(kind, Text) else JSON
        schema = {"type": "string"} if isinstance(kind, Text) else components.of(kind)
        found[status] = {"description": HTTPStatus(status).phrase, "content": {content_type: {"schema": schema}}}
    problem = {PROBLEM: {"schema": components.of(Problem)}}
    usual = {
        *_OF_ALL,
        *(_WITH_TOKEN if has_token else _WITHOUT_TOKEN),
        *(_OF_QUERY if declared.query else ()),
        *(_OF_BODY if declared.body else ()),
    }
    texts = {status: status.phrase for status in usual} | dict(declared.problems)
    for status, text in texts.items():
        found[status] = {"description": text, "content": problem}
    return {str(status): found[status] for status in sorted(found)}


def _of_path(path: str) -> list[Schema]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [{"name": name, "in": "path", "required": True, "schema": _PATHS[name]} for name in names]


def _of_query(declared: _Operation, components: _Components) -> list[Schema]:
    if declared.query is None:
        return []
    schema = components.of_model(declared.query)
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "allowEmptyValue": name not in required,
            "schema": _without_null(one),
        }
        for name, one in schema["properties"].items()
    ]


def _of_headers(declared: _Operation) -> list[Schema]:
    return [
        {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}
        for name, text in declared.headers.items()
    ]


def _without_null(schema: Schema) -> Schema:
    """Return the schema of a parameter in an address, where what is not given is left out."""
    given = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    if len(given) != 1:
        return schema
    rest = {name: value for name, value in schema.items() if name not in {"anyOf", "default"}}
    return {**rest, **given[0]}
