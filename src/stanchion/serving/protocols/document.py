"""The part of the OpenAPI document that tells of the protocols' paths, and of each declared model by its own types."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...core.http.routes import Routes
from ..contract.predictions import ServedSpec

ONE = "/v1/models/{model}/predict"
_MODEL = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
_VERSION = {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}
_LENGTH = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": "^[0-9]{1,12}$"},
    "description": "Bytes of the JSON at the head of the body, where tensors follow it as bytes.",
}
_WORDS = {
    400: "The body is not what the protocol describes",
    401: "No valid credential",
    403: "The key may not do this with the model",
    404: "No such model or version in the caller's tenant",
    409: "The state does not admit this",
    413: "The body is too large",
    422: "A tensor or field is missing, unknown or not acceptable; `errors` names each",
    429: "Too many requests",
    500: "The service failed",
    503: "Nothing can answer",
    504: "The time limit passed",
}
_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}, "maxItems": 16},
        "datatype": {
            "type": "string",
            "description": "BOOL, UINT8 to UINT64, INT8 to INT64, FP16, FP32, FP64 or BYTES.",
        },
        "parameters": {"type": "object", "description": "`binary_data_size`: bytes behind the JSON instead of data."},
        "data": {"type": "array", "items": {}, "description": "Row-major, flat or nested as the shape is."},
    },
}
_SPEC = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": {"type": "string"},
        "datatype": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer"}, "description": "-1 stands for any size."},
    },
}
_STATE = {
    "type": "object",
    "required": ["name", "version", "state"],
    "properties": {
        "name": {"type": "string"},
        "version": {"type": "string"},
        "state": {"type": "string", "enum": ["READY", "LOADING", "UNLOADING", "UNAVAILABLE", "IDLE"]},
        "reason": {"type": "string"},
        "bytes": {"type": "integer"},
        "cold_start_seconds": {"type": ["number", "null"]},
    },
}

SCHEMAS: Mapping[str, Any] = {
    "Tensor": _TENSOR,
    "TensorSpec": _SPEC,
    "ModelState": _STATE,
    "InferRequest": {
        "type": "object",
        "additionalProperties": False,
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string", "maxLength": 512},
            "model_name": {"type": "string", "description": "The name in the path again, as some clients send it."},
            "parameters": {"type": "object", "description": "`timeout` in microseconds, `binary_data_output`."},
            "inputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}, "maxItems": 1024},
            "outputs": {
                "type": "array",
                "maxItems": 1024,
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"type": "string"},
                        "parameters": {"type": "object", "description": "`binary_data`: true for bytes."},
                    },
                },
                "description": "The outputs wanted, in that order; absent or empty: all.",
            },
        },
    },
    "InferResponse": {
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "parameters": {"type": "object", "description": "`served_by` is the rung of the ladder that answered."},
            "outputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}},
        },
    },
    "ModelMetadata": {
        "type": "object",
        "required": ["name", "versions", "platform", "inputs", "outputs"],
        "properties": {
            "name": {"type": "string"},
            "versions": {"type": "array", "items": {"type": "string"}},
            "platform": {"type": "string"},
            "inputs": {"type": "array", "items": {"$ref": "#/components/schemas/TensorSpec"}},
            "outputs": {"type": "array", "items": {"$ref": "#/components/schemas/TensorSpec"}},
            "parameters": {"type": "object"},
        },
    },
    "OpenInferenceError": {
        "title": "OpenInferenceError",
        "description": "The protocol's error, with the fields of our problem documents beside it.",
        "allOf": [{"$ref": "#/components/schemas/Problem"}],
        "required": ["error"],
        "properties": {"error": {"type": "string"}},
    },
}


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _operation(name: str, summary: str, answer: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    refused = _json(_ref("OpenInferenceError"))
    refusals = {str(status): {"description": text, "content": refused} for status, text in _WORDS.items()}
    return {
        "operationId": name,
        "tags": ["open inference"],
        "summary": summary,
        "responses": {"200": {"description": "Done", "content": _json(answer)}, **refusals},
        **more,
    }


def _infer(name: str, parameters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    operation = _operation(
        name,
        "Run a model on tensors",
        _ref("InferResponse"),
        parameters=[*parameters, _LENGTH],
        requestBody={"required": True, "content": _json(_ref("InferRequest"))},
    )
    operation["responses"]["200"]["content"]["application/octet-stream"] = {
        "schema": {"type": "string", "format": "binary"}
    }
    return {"post": operation}


def _ready(name: str, parameters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    answer = {
        "type": "object",
        "required": ["name", "ready"],
        "properties": {"name": {"type": "string"}, "ready": {"type": "boolean"}},
    }
    operation = _operation(name, "Whether a model would answer", answer, parameters=parameters)
    operation["responses"]["400"] = {
        "description": "It would not, or the request is malformed",
        "content": _json({"anyOf": [answer, _ref("OpenInferenceError")]}),
    }
    return {"get": operation}


def _paths() -> dict[str, Any]:
    one, versioned = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
    model, both = [_MODEL], [_MODEL, _VERSION]
    metadata = _ref("ModelMetadata")
    states = {"type": "array", "items": _ref("ModelState")}
    empty = {"required": False, "content": _json({"type": "object", "properties": {}})}
    loading: dict[str, Any] = {"parameters": model, "requestBody": empty}
    asked = {"type": "object", "additionalProperties": False, "properties": {"ready": {"type": "boolean"}}}
    return {
        "/v2": {"get": _operation("server_metadata", "What this server is", {"type": "object"})},
        one: {"get": _operation("model_metadata", "What a model takes and gives", metadata, parameters=model)},
        versioned: {"get": _operation("version_metadata", "What a version takes and gives", metadata, parameters=both)},
        f"{one}/ready": _ready("model_ready", model),
        f"{versioned}/ready": _ready("version_ready", both),
        f"{one}/infer": _infer("infer", model),
        f"{versioned}/infer": _infer("infer_version", both),
        "/v2/repository/index": {
            "post": _operation(
                "repository_index",
                "List the models in this process",
                states,
                requestBody={"required": False, "content": _json(asked)},
            )
        },
        "/v2/repository/models/{model}/load": {
            "post": _operation("load_model", "Bring a model into memory", _ref("ModelState"), **loading)
        },
        "/v2/repository/models/{model}/unload": {
            "post": _operation("unload_model", "Take a model out of memory", _ref("ModelState"), **loading)
        },
        "/v1/predictions/stream": {"post": _streamed()},
        ONE: {"post": {**_typed("predict_one", "features", {"type": "object"}, None), "parameters": model}},
    }


_EVENT = {
    "type": "object",
    "description": "One event; `data` is the text of a JSON document.",
    "required": ["data"],
    "properties": {
        "event": {"type": "string", "enum": ["answer", "end", "error"]},
        "id": {"type": "string"},
        "data": {"type": "string"},
    },
}


def _streamed() -> dict[str, Any]:
    return {
        "operationId": "predict_stream",
        "tags": ["serving"],
        "summary": "Predict, answer by answer",
        "description": "Server-sent events: `answer` for each instance as it is ready, then `end`, or `error` instead.",
        "requestBody": {"required": True, "content": _json(_ref("PredictionRequest"))},
        "responses": {"200": {"description": "The events", "content": {"text/event-stream": {"schema": _EVENT}}}},
    }


def _typed(name: str, title: str, features: Mapping[str, Any], answer: Mapping[str, Any] | None) -> dict[str, Any]:
    """The operation that predicts with one model: one instance in, and its outcome beside who gave it."""
    body = {
        "type": "object",
        "additionalProperties": False,
        "required": ["features"],
        "properties": {"features": features, **_OPTIONS},
    }
    whole = _ref("PredictionResponse")
    return {
        "operationId": name,
        "tags": ["serving"],
        "summary": f"Predict with {title}" if answer is not None else "Predict with a model named in the path",
        "requestBody": {"required": True, "content": _json(body)},
        "responses": {
            "200": {
                "description": "The outcome",
                "content": _json(whole if answer is None else {"allOf": [whole, answer]}),
            }
        },
    }


_OPTIONS = {
    "explain": {"type": "string", "enum": ["timing"], "description": "What the answer shall tell of itself."},
    "options": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "priority": {"type": "string", "enum": ["interactive", "normal", "bulk"]},
            "unit": {"type": "string", "maxLength": 200, "description": "What a traffic split keeps on one side."},
        },
    },
}
PATHS: Mapping[str, Any] = _paths()


def documented(declared: Sequence[object]) -> Routes:
    """A path of its own, with its own types, for each model that the system declares: generated clients are typed."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for spec in declared:
        if not isinstance(spec, ServedSpec):
            continue
        words = [word for word in re.split(r"[^A-Za-z0-9]+", spec.name) if word]
        title = "".join(word[:1].upper() + word[1:] for word in words)
        features, answer = f"{title}Features", f"{title}Outcome"
        for name, schema in (
            (features, _asked(spec, _TEMPLATE.format(title))),
            (answer, spec.output.model_json_schema(mode="serialization", ref_template=_TEMPLATE.format(title))),
        ):
            schemas |= {f"{title}{inner}": each for inner, each in schema.pop("$defs", {}).items()}
            schemas[name] = schema
        operation = _typed("predict_" + "_".join(words), spec.name, _ref(features), _ref(answer))
        paths[ONE.replace("{model}", spec.name)] = {"post": operation}
    return Routes(paths=paths, schemas=schemas)


def _asked(spec: ServedSpec, template: str) -> dict[str, Any]:
    """What a caller gives: the declared input without the fields that are looked up."""
    schema = spec.input.model_json_schema(ref_template=template)
    looked_up = set() if spec.options.features is None else set(spec.options.features.fields)
    schema["properties"] = {name: each for name, each in schema.get("properties", {}).items() if name not in looked_up}
    schema["required"] = [name for name in schema.get("required", ()) if name not in looked_up]
    return schema


_TEMPLATE = "#/components/schemas/{}{{model}}"
