"""`stanchion gateway`: labelled questions in, thresholds, a report and a picture out."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from ...core.errors import InvalidInput
from ...gateway import CalibrationStep, CascadeReport, Example, Gateway, Outcome
from .office import DONE, Options, opened, operator, run, show, table

T = TypeVar("T")
_MODULES = ("gateway",)
_PICO = 10**12


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was said on the command line."""

    cascade: str
    examples: Path
    floor: float
    confidence: float
    output: Path | None
    picture: Path | None


def calibrated(file: Path, wanted: Wanted, *, data: Path, json: bool) -> int:
    """Calibrate, write and report; the exit code."""
    options = Options(data=data, json=json)

    async def work() -> int:
        examples = _lines(wanted.examples, Example)
        async with opened(options, file=file, only=_MODULES) as house:
            await house.start()
            steps = house.door(Gateway).calibrate(
                operator(house.settings.tenant),
                wanted.cascade,
                examples,
                floor=wanted.floor,
                confidence=wanted.confidence,
            )
            report = await _followed(steps, quiet=json)
        if wanted.output is not None:
            wanted.output.write_bytes(msgspec.json.format(msgspec.json.encode(report.calibration)))
        if wanted.picture is not None:
            draw(report, wanted.picture, title=f"{wanted.cascade}: cost against quality")
        show(options, report, lambda: _told(report, wanted))
        return DONE

    return run(options, work)


def router_trained(outcomes: Path, output: Path, *, data: Path, json: bool) -> int:
    """Train and write a router; the exit code."""
    options = Options(data=data, json=json)

    async def work() -> int:
        labelled = _lines(outcomes, Outcome)
        async with opened(options, only=_MODULES) as house:
            trained = await house.door(Gateway).train_router(operator(house.settings.tenant), labelled)
        output.write_bytes(trained.document)
        told = {"file": str(output), "examples": trained.examples, "auc": trained.auc}
        show(options, told, lambda: f"{output}: {trained.examples} outcomes, ROC AUC {trained.auc:.3f} on unseen ones")
        return DONE

    return run(options, work)


def draw(report: CascadeReport, output: Path, *, title: str) -> None:
    """Write the picture: what each setting costs and how often it is right. Raises InvalidInput without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise InvalidInput("the picture needs matplotlib", next_step="Install the extra `train`.") from error
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes = figure.subplots()
    front = report.front
    axes.plot([_thousand(p.cost) for p in front], [p.quality for p in front], "o-", markersize=3, label="cascade")
    for each in report.alone:
        axes.plot(_thousand(each.cost), each.quality, "s", label=f"{each.model} alone")
    chosen = report.chosen
    axes.plot(_thousand(chosen.cost), chosen.quality, "*", markersize=15, label="calibrated", zorder=5)
    axes.axhline(report.calibration.floor, linestyle="--", linewidth=1, color="grey", label="quality floor")
    axes.set_xlabel("US dollars for 1,000 calls")
    axes.set_ylabel(f"right answers of {report.examples} examples")
    axes.set_title(title, fontsize=11, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.legend(fontsize=8)
    figure.savefig(output)


async def _followed(steps: AsyncIterator[CalibrationStep], *, quiet: bool) -> CascadeReport:
    """The report at the end; on the way how far it is, ten times."""
    async for step in steps:
        if step.report is not None:
            return step.report
        if not quiet and step.done % max(1, step.total // 10) == 0:
            sys.stderr.write(f"{step.done:,} of {step.total:,} questions, {step.cost / _PICO:.6f} dollars so far\n")
    raise InvalidInput("the calibration ended without a report")


def _lines(file: Path, kind: type[T]) -> list[T]:
    """Raises InvalidInput with the line's number."""
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError as error:
        raise InvalidInput(
            f"{file} cannot be read: {error.strerror}", next_step="Name a file of JSON lines."
        ) from error
    found, decoder = [], msgspec.json.Decoder(kind)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(decoder.decode(line))
        except msgspec.MsgspecError as error:
            raise InvalidInput(f"line {number} of {file} is not what is wanted: {error}") from error
    return found


def _told(report: CascadeReport, wanted: Wanted) -> str:
    rows = [
        (f"{each.model} alone", _cost(each.cost), f"{each.quality:.1%}", f"{each.bound:.1%}") for each in report.alone
    ]
    chosen = report.chosen
    rows.append(("calibrated", _cost(chosen.cost), f"{chosen.quality:.1%}", f"{chosen.bound:.1%}"))
    head = table(("SETTING", "$ FOR 1,000", "RIGHT", "AT LEAST"), rows)
    shares = ", ".join(f"{name.model} {share:.0%}" for name, share in zip(report.alone, chosen.shares, strict=True))
    end = f"answered by {shares}; {report.saved:.0%} cheaper than {report.alone[-1].model} alone"
    files = "".join(f"\n{file}" for file in (wanted.output, wanted.picture) if file is not None)
    return f"{head}\n\n{end}{files}"


def _thousand(cost: float) -> float:
    return cost / _PICO * 1000


def _cost(cost: float) -> str:
    return f"{_thousand(cost):.4f}"
