"""The service's description for machines (OpenAPI 3.1), made from the types that check its messages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import msgspec

from serving.messages import Failure
from serving.web import Route

_REFERENCE = "#/components/schemas/{name}"
_ERRORS = {
    "400": "The request is wrong",
    "401": "No valid key",
    "403": "The key lacks the scope",
    "404": "Not there",
    "409": "The idempotency key stood for another request",
    "413": "The body is too large",
    "415": "The body is not JSON",
    "503": "Out of reach or overloaded; try again",
}


def description(routes: Sequence[Route]) -> dict[str, Any]:
    """The OpenAPI document of ``routes``."""
    types = [kind for route in routes for kind in (route.takes, route.gives) if kind is not None]
    schemas, components = msgspec.json.schema_components([*types, Failure], ref_template=_REFERENCE)
    by_type = dict(zip([*types, Failure], schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Rapport", "version": version("rapport"), "description": "Decides the next best contact."},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, schemas: dict[object, Any]) -> dict[str, Any]:
    names = re.findall(r"{(\w+)}", route.path)
    answer: dict[str, Any] = {"description": "Done"}
    if route.gives is not None:
        answer["content"] = {"application/json": {"schema": schemas[route.gives]}}
    failure = {"application/json": {"schema": schemas[Failure]}}
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": route.handle.__name__,
        "security": [] if route.scope == "open" else [{"key": []}],
        "parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names],
        "responses": {"200": answer}
        | {status: {"description": words, "content": failure} for status, words in _ERRORS.items()},
    }
    if route.takes is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schemas[route.takes]}},
        }
    return operation
