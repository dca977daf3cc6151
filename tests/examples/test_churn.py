"""The churn example: its population, its reader of the IBM file, and the figures that its page promises."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import pytest

from stanchion.core.declaration import load_declarations
from stanchion.core.errors import InvalidInput
from stanchion.serving import ServedSpec
from stanchion.serving.intake import Intake
from stanchion.training import TrainingSpec
from stanchion.training.ports import Job, Package, Progress

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "churn"
MODEL = "customer-churn-v2"
REQUEST = {"customer_id": "12345", "tenure_months": 24, "monthly_charges": 89.99}


@pytest.fixture(scope="module")
def declared() -> Any:
    return load_declarations(FOLDER / "system.py")


@pytest.fixture(scope="module")
def population(declared: Any) -> Iterator[ModuleType]:
    yield sys.modules["population"]


@pytest.fixture(scope="module")
def ibm() -> Path:
    folder = os.environ.get("STANCHION_TEST_DATA")
    path = Path(folder or ".") / "telco_customer_churn.csv"
    if folder is None or not path.is_file():
        pytest.skip("STANCHION_TEST_DATA names no folder with telco_customer_churn.csv")
    return path


def trained(declared: Any, folder: Path, source: Path | None) -> tuple[Package, list[Progress]]:
    from stanchion.training.worker.job import done

    [spec] = declared.of(TrainingSpec)
    told: list[Progress] = []
    named = None if source is None else str(source)
    return done(
        Job(str(FOLDER / "system.py"), MODEL, named, spec.seed, str(folder)), told.append, lambda spine: ""
    ), told


def test_the_generated_population_is_the_same_for_the_same_seed(population: ModuleType) -> None:
    one, two, other = population.generated(7), population.generated(7), population.generated(8)
    assert one.rows.equals(two.rows)
    assert (one.target == two.target).all()
    assert not one.rows.equals(other.rows)


@pytest.mark.parametrize("seed", [1, 7, 42])
def test_the_generated_population_is_of_a_believable_kind(seed: int, population: ModuleType) -> None:
    made = population.generated(seed)
    rows, left = made.rows, numpy.asarray(made.target)
    assert len(rows) == 8_000
    assert 0.2 < left.mean() < 0.35
    rate = {kind: left[rows["contract"] == kind].mean() for kind in ("month_to_month", "one_year", "two_year")}
    assert rate["month_to_month"] > 2 * rate["one_year"] > 4 * rate["two_year"] / 2
    assert left[rows["tenure_months"] <= 6].mean() > 2 * left[rows["tenure_months"] > 48].mean()
    offline = rows["internet_service"] == "none"
    assert not rows.loc[offline, ["online_security", "streaming_tv", "tech_support"]].to_numpy().any()
    assert rows.loc[offline, "monthly_charges"].max() < 35 < rows.loc[~offline, "monthly_charges"].mean()


def test_training_on_the_generated_population_ranks_well_and_is_calibrated(declared: Any, tmp_path: Path) -> None:
    package, told = trained(declared, tmp_path, None)
    measures = package.measures
    assert measures.roc_auc > 0.82
    assert measures.calibration_error < 0.035
    assert measures.parity < 1e-5
    assert [each.stage for each in told] == ["data", "split", "fitted", "measured", "exported"]
    assert "Not for" in package.card


def test_training_on_the_ibm_customers_keeps_its_promise(declared: Any, ibm: Path, tmp_path: Path) -> None:
    package, _ = trained(declared, tmp_path, ibm)
    measures = package.measures
    assert package.data_rows == 7043
    assert measures.roc_auc >= 0.83
    assert measures.brier < 0.14
    assert measures.calibration_error < 0.03
    assert measures.simple_roc_auc is not None
    assert measures.simple_roc_auc > 0.8


def test_every_customer_of_ibm_is_an_instance_that_serving_takes(
    declared: Any, population: ModuleType, ibm: Path
) -> None:
    [spec] = declared.of(ServedSpec)
    intake = Intake(spec.input.model_json_schema())
    rows = population.read_ibm(ibm).rows.head(500).to_dict("records")
    for number, row in enumerate(rows):
        row["senior_citizen"] = bool(row["senior_citizen"])
        intake.checked({"customer_id": str(number), **row})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a,b\n1,2\n", "lacks the columns tenure"),
        ("", "is not a CSV table"),
        ("\x00\x01", "lacks the columns|is not a CSV"),
    ],
)
def test_a_file_that_is_not_the_ibm_table_is_refused(
    content: str, told: str, population: ModuleType, tmp_path: Path
) -> None:
    path = tmp_path / "customers.csv"
    path.write_text(content)
    with pytest.raises(InvalidInput, match=told):
        population.read_ibm(path)


HEADER = (
    "customerID,gender,SeniorCitizen,Partner,Dependents,tenure,PhoneService,MultipleLines,InternetService,"
    "OnlineSecurity,OnlineBackup,DeviceProtection,TechSupport,StreamingTV,StreamingMovies,Contract,PaperlessBilling,"
    "PaymentMethod,MonthlyCharges,TotalCharges,Churn"
)
LINE = (
    "1,Female,0,Yes,No,0,No,No phone service,DSL,Yes,No,Yes,No,No,No internet service,"
    "Two year,Yes,Mailed check,52.55, ,No"
)


def test_a_blank_total_and_a_service_that_is_absent_are_understood(population: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "customers.csv"
    path.write_text(f"{HEADER}\n{LINE}\n")
    read = population.read_ibm(path)
    [row] = read.rows.to_dict("records")
    assert (row["tenure_months"], row["multiple_lines"], row["streaming_movies"]) == (0, False, False)
    assert (row["contract"], row["online_security"], list(read.target)) == ("two_year", True, [0])


@pytest.mark.parametrize(
    ("old", "new"), [("DSL", "Cable"), ("Two year", "Ten years"), ("52.55, ,No", "52.55, ,?"), ("52.55", "dear")]
)
def test_a_word_that_is_not_known_is_refused(old: str, new: str, population: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "customers.csv"
    path.write_text(f"{HEADER}\n{LINE.replace(old, new)}\n")
    with pytest.raises(InvalidInput):
        population.read_ibm(path)


def test_the_documented_request_is_answered_at_every_rung(declared: Any, tmp_path: Path) -> None:
    from stanchion.core.clock import SystemClock
    from stanchion.core.context import Context
    from stanchion.core.errors import NotFound
    from stanchion.core.telemetry.metrics import Metrics
    from stanchion.serving.backends.scripted import ScriptedRuntime
    from stanchion.serving.pool import Pool
    from stanchion.serving.service import ServingService

    class Empty:
        async def resolve(self, ctx: Context, reference: str) -> None:
            raise NotFound(reference)

    registry: Any = Empty()
    service = ServingService(
        specs=declared.of(ServedSpec), registry=registry, runtime=ScriptedRuntime(), metrics=Metrics(),
        clock=SystemClock(), tenant="t1", pool=Pool(threads=1, waiting=1),
    )  # fmt: skip

    async def answers() -> list[Any]:
        ctx = Context(tenant="t1", principal="ada")
        loyal = {**REQUEST, "contract": "two_year", "total_charges": 2159.76, "gender": "female"}
        return [await service.predict(ctx, MODEL, [instance]) for instance in (REQUEST, loyal)]

    default, rule = asyncio.run(answers())
    assert (default.served_by, default.items[0].values["prediction"]) == ("default", "medium_risk")
    assert (rule.served_by, rule.items[0].values["prediction"]) == ("rule", "low_risk")
