"""The part of the OpenAPI document that the hot prediction route cannot write itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_EXAMPLE = {
    "model_id": "customer-churn-v2",
    "features": {"customer_id": "12345", "tenure_months": 24, "monthly_charges": 89.99},
}
_ANSWER = {
    "request_id": "5f0c6a1b7d2e4f8a9b3c1d20",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "model_id": "customer-churn-v2",
    "model_version": "1.0.0",
    "served_by": "primary",
    "latency_ms": 0.21,
    "prediction": "medium_risk",
    "probability": 0.47,
}
_PROBLEMS = {
    400: "The body is not one JSON document",
    401: "No valid credential",
    403: "The key may not predict with this model",
    404: "No such model, version or alias in the caller's tenant",
    413: "The body or the number of instances is too large",
    422: "A field is missing, unknown or not acceptable; `errors` names each",
    429: "Too many requests",
    503: "No rung can answer",
    504: "The time limit passed",
}
_OBJECT = {"type": "object", "additionalProperties": True}

SCHEMAS: Mapping[str, Any] = {
    "PredictionRequest": {
        "type": "object",
        "additionalProperties": False,
        "required": ["model_id"],
        "oneOf": [{"required": ["features"]}, {"required": ["instances"]}],
        "properties": {
            "model_id": {"type": "string", "description": "`name`, `name@alias` or `name@1.4.0`."},
            "features": {**_OBJECT, "description": "One instance, as the model's input schema has it."},
            "instances": {
                "type": "array",
                "items": _OBJECT,
                "minItems": 1,
                "maxItems": 10_000,
                "description": "Several instances, answered in order; a faulty one does not spoil the others.",
            },
            "explain": {
                "type": "string",
                "enum": ["timing"],
                "description": "`timing` adds `timing_ms`: the milliseconds of each stage inside the service.",
            },
            "options": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "priority": {
                        "type": "string",
                        "enum": ["interactive", "normal", "bulk"],
                        "default": "normal",
                        "description": "The class in which a batched model queues the call.",
                    },
                    "unit": {
                        "type": "string",
                        "maxLength": 200,
                        "description": "What a traffic split keeps on one side, such as a customer.",
                    },
                },
            },
        },
    },
    "PredictionResponse": {
        "type": "object",
        "additionalProperties": True,
        "required": ["request_id", "trace_id", "model_id", "model_version", "served_by", "latency_ms"],
        "description": "For `features`, the fields of the model's output stand beside these.",
        "properties": {
            "request_id": {"type": "string"},
            "trace_id": {"type": "string", "description": "32 hex digits; find it in the console under Observe."},
            "model_id": {"type": "string"},
            "model_version": {
                "type": "string",
                "description": "Such as 2.1.3; `declared` for a Python function, `none` while only rules answer.",
            },
            "served_by": {
                "type": "string",
                "examples": ["primary", "simple", "rule", "cached", "default", "human", "cache", "none"],
                "description": "The rung of the ladder that answered, `cache` for an answer given again, `none` if "
                "every instance was refused.",
            },
            "latency_ms": {"type": "number", "minimum": 0},
            "arm": {"type": "string", "description": "The side of a rollout that answered; absent outside of one."},
            "timing_ms": {
                "type": "object",
                "additionalProperties": {"type": "number"},
                "description": "By stage: admit, cache, features, ladder, rules. Only where asked for.",
            },
            "overruled_by": {"type": "string", "description": "The declared rule that replaced the model's answer."},
            "review": {
                "type": "string",
                "enum": ["required", "waiting"],
                "description": "`required`: a person should look at this answer. `waiting`: people were asked, "
                "and there is no answer yet.",
            },
            "review_item": {"type": "string", "description": "The item under review that waits for people."},
            "age_seconds": {"type": "number", "description": "How old an answer of the rung `cached` is."},
            "predictions": {
                "type": "array",
                "items": _OBJECT,
                "description": "For `instances`: the output of each in order with its own marks, or `error` with a "
                "problem document.",
            },
        },
    },
}


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {"application/problem+json": {"schema": schema}}}


PATHS: Mapping[str, Any] = {
    "/v1/predictions": {
        "post": {
            "operationId": "predict",
            "tags": ["serving"],
            "summary": "Predict with a served model",
            "description": "Answers one instance (`features`) or several (`instances`), and tells which rung answered.",
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {"$ref": "#/components/schemas/PredictionRequest"},
                        "example": _EXAMPLE,
                    }
                },
            },
            "responses": {
                "200": {
                    "description": "The outcome",
                    "content": {
                        "application/json": {
                            "schema": {"$ref": "#/components/schemas/PredictionResponse"},
                            "example": _ANSWER,
                        }
                    },
                },
                **{str(status): _problem(text) for status, text in _PROBLEMS.items()},
            },
        }
    }
}
