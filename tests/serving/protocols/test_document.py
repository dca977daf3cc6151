"""The OpenAPI document has a path for each declared model, with that model's own types."""

from __future__ import annotations

from enum import Enum
from typing import Any

from pydantic import BaseModel, Field

from stanchion.core.errors import BY_CODE
from stanchion.serving import Lookup, Options, ServedSpec
from stanchion.serving.protocols.document import PATHS, SCHEMAS, documented


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Place(BaseModel):
    x: float


class Thing(BaseModel):
    colour: Colour
    at: Place
    size: int = Field(3, ge=1)
    mean_7d: float


class Verdict(BaseModel):
    good: bool


def spec(**changes: Any) -> ServedSpec:
    return ServedSpec(**{"name": "my.thing-v2", "input": Thing, "output": Verdict, **changes})


def refs(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if "$ref" in value else set()
        return own.union(*(refs(each) for each in value.values()))
    return set().union(*(refs(each) for each in value)) if isinstance(value, list | tuple) else set()


def test_a_declared_model_has_a_path_with_its_own_types() -> None:
    found = documented([spec(), object()])
    [(path, item)] = found.paths.items()
    assert path == "/v1/models/my.thing-v2/predict"
    assert item["post"]["operationId"] == "predict_my_thing_v2"
    features = found.schemas["MyThingV2Features"]
    assert set(features["properties"]) == {"colour", "at", "size", "mean_7d"}
    assert features["properties"]["size"]["minimum"] == 1
    assert found.schemas["MyThingV2Outcome"]["properties"]["good"]["type"] == "boolean"
    assert found.schemas["MyThingV2Colour"]["enum"] == ["red", "blue"]


def test_fields_that_are_looked_up_are_not_asked_of_the_caller() -> None:
    lookup = Lookup("service", {"thing": "colour"}, fields=("mean_7d",))
    features = documented([spec(options=Options(features=lookup))]).schemas["MyThingV2Features"]
    assert set(features["properties"]) == {"colour", "at", "size"}
    assert features["required"] == ["colour", "at"]


def test_two_models_with_types_of_one_name_keep_them_apart() -> None:
    class Other(BaseModel):
        at: Place

    found = documented([spec(), spec(name="other", input=Other)])
    assert {"MyThingV2Place", "OtherPlace"} <= set(found.schemas)


def test_every_reference_leads_somewhere() -> None:
    found = documented([spec()])
    names = {*SCHEMAS, *found.schemas, "Problem", "PredictionRequest", "PredictionResponse"}
    for ref in refs([dict(PATHS), dict(SCHEMAS), dict(found.paths), dict(found.schemas)]):
        assert ref.removeprefix("#/components/schemas/") in names


def test_the_protocols_paths_tell_of_every_status_that_an_error_has() -> None:
    statuses = {str(error.status) for error in BY_CODE.values()}
    for path, item in PATHS.items():
        if path.startswith("/v2"):
            for operation in item.values():
                assert statuses <= set(operation["responses"])
