"""Every command of the command line as a real process: what it prints, for people and machines, and how it ends."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "churn" / "system.py"
MODEL = "customer-churn-v2"
COMMANDS = (
    "run", "train", "doctor", "openapi",
    "models list", "models show", "models promote", "models register", "models rollback", "models fetch",
    "keys create", "keys list", "keys rotate", "keys revoke", "audit verify", "audit export", "audit prove",
    "config show", "mesh init", "batch", "batches list", "batches show", "batches cancel",
    "drill start", "drill stop", "drill list", "drill report",
    "features materialise", "features backfill", "features import-feast",
    "rollout start", "rollout list", "rollout show", "rollout pause", "rollout resume", "rollout approve",
    "rollout abort", "rollout promote", "rollout rollback",
    "gateway calibrate", "gateway train-router", "gateway compare", "gateway history", "gateway restore",
    "events publish", "events list", "events consumers", "events dead", "events redrive", "events replay",
    "events schemas", "events asyncapi",
    "pipelines run", "pipelines backfill", "pipelines graph", "worker",
    "runs list", "runs show", "runs resume", "runs cancel", "runs fork",
    "reviews list", "reviews show", "reviews decide", "reviews statistics", "reviews export", "reviews erase",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(trained: Path, tmp_path_factory: pytest.TempPathFactory, begin: Callable[..., Any]) -> Any:
    """A running system whose folder the commands look into meanwhile."""
    data = tmp_path_factory.mktemp("commands") / "data"
    shutil.copytree(trained, data)
    return begin(data)


@pytest.fixture(scope="module")
def ask(commands: Run, place: Any) -> Callable[..., Any]:
    """Runs a command on the running system's folder; gives its JSON."""

    def run(*arguments: str) -> Any:
        done = commands(*arguments, "--data", place.data, "--json", cwd=place.data)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def say(commands: Run, place: Any) -> Callable[..., str]:
    """Runs a command on the running system's folder; gives its text."""

    def run(*arguments: str) -> str:
        done = commands(*arguments, "--data", place.data, cwd=place.data)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


def told(done: subprocess.CompletedProcess[str]) -> str:
    """The one message of a command that could not do its work, in the form that all have."""
    lines = done.stderr.strip().splitlines()
    assert lines[0].startswith("stanchion: ") and lines[-1].startswith("  next: "), done.stderr
    assert "Traceback" not in done.stderr
    return lines[0].removeprefix("stanchion: ")


def test_every_command_explains_itself(commands: Run, tmp_path: Path) -> None:
    from typer.main import get_command

    from stanchion.app.cli import app

    top = get_command(app)
    known = [
        f"{name} {inner}".strip()
        for name, command in vars(top)["commands"].items()
        for inner in getattr(command, "commands", {"": None})
    ]
    assert sorted(known) == sorted(COMMANDS)
    with ThreadPoolExecutor(4) as pool:
        asked = {c: pool.submit(commands, *c.split(), "--help", cwd=tmp_path) for c in ("", *COMMANDS)}
        for name, answer in asked.items():
            done = answer.result()
            assert (done.returncode, done.stderr) == (0, ""), name
            assert f"Usage: stanchion {name}".strip() in done.stdout
            assert not name or ("--json" in done.stdout and "--data" in done.stdout)


def test_the_version_is_printed(commands: Run, tmp_path: Path) -> None:
    assert re.fullmatch(r"stanchion \d+\.\d+\.\d+\n", commands("--version", cwd=tmp_path).stdout)


def test_models_are_listed_and_shown(ask: Callable[..., Any], say: Callable[..., str]) -> None:
    listed = ask("models", "list")
    assert [(m["model"], m["versions"], m["latest"]) for m in listed] == [(MODEL, 1, "1.0.0")]
    assert MODEL in say("models", "list")
    shown = ask("models", "show", f"{MODEL}@1.0.0")
    assert shown["metrics"]["roc_auc"] > 0.7 and shown["signature"] and shown["versions"][0]["version"] == "1.0.0"
    text = say("models", "show", MODEL)
    assert shown["manifest_sha256"] in text and "metric brier" in text


@pytest.fixture(scope="module")
def second(trained: Path, commands: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A data folder with a second version, trained on the real customers where their file is, and its report."""
    folder = tmp_path_factory.mktemp("second")
    shutil.copytree(trained, folder / "data")
    file, source = EXAMPLE, real_customers()
    if source is None:
        shutil.copytree(EXAMPLE.parent, folder / "churn")
        file = folder / "churn" / "system.py"
        file.write_text(file.read_text().replace("seed=7", "seed=8"))
    extra = () if source is None else ("--source", str(source))
    done = commands("train", file, MODEL, *extra, "--data", folder / "data", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "data", json.loads(done.stdout)


def real_customers() -> Path | None:
    folder = os.environ.get("STANCHION_TEST_DATA")
    file = Path(folder) / "telco_customer_churn.csv" if folder else None
    return file if file is not None and file.is_file() else None


def test_training_on_the_real_customers_is_as_good_as_promised(second: tuple[Path, dict[str, Any]]) -> None:
    if real_customers() is None:
        pytest.skip("STANCHION_TEST_DATA names no folder with telco_customer_churn.csv")
    report = second[1]
    assert report["roc_auc"] >= 0.83
    assert 0 < report["brier"] < 0.15
    assert report["train_rows"] + report["test_rows"] > 7000
    assert len(report["reliability"]) >= 5
    assert Path(report["picture"]).is_file()


def test_a_version_is_promoted_and_rolled_back(second: tuple[Path, dict[str, Any]], commands: Run) -> None:
    data, report = second

    def do(*arguments: str) -> str:
        done = commands("models", *arguments, "--data", data, cwd=data)
        assert done.returncode == 0, done.stderr
        return done.stdout

    new = report["version"]
    first = json.loads(do("promote", MODEL, "1.0.0", "--evidence", "the first", "--json"))
    assert (first["status"], first["replaces"]) == ("done", None)
    assert do("promote", MODEL, new, "--evidence", "better") == f"{MODEL} {new} -> production: done\n"
    assert json.loads(do("list", "--json"))[0]["production"] == new
    assert do("rollback", MODEL, "--reason", "a drill") == f"{MODEL}: 1.0.0 is in production again\n"
    refused = commands("models", "rollback", MODEL, "--data", data, "--json", cwd=data)
    assert (refused.returncode, json.loads(refused.stderr)["code"]) == (1, "conflict")


def test_a_key_works_at_once_and_is_soon_refused_once_it_is_revoked(
    ask: Callable[..., Any], say: Callable[..., str], place: Any, until: Callable[..., None]
) -> None:
    made = ask("keys", "create", "--name", "caller", "--role", "predictor", "--days", "1")
    assert place.predict(key=made["secret"]).status == 200
    after = ask("keys", "rotate", made["id"], "--overlap", "60")
    assert place.predict(key=after["secret"]).status == 200
    assert place.predict(key=made["secret"]).status == 200
    assert ask("keys", "revoke", made["id"])["revoked_at"] is not None
    until(lambda: place.predict(key=made["secret"]).status == 401)
    states = {key["id"]: key["revoked_at"] is None for key in ask("keys", "list")}
    assert (states[made["id"]], states[after["id"]]) == (False, True)
    text = say("keys", "list")
    assert after["id"] in text and after["secret"] not in text
    secret = say("keys", "create", "--name", "reader", "--scope", "serving:predict").split()[0]
    assert place.predict(key=secret).status == 200
    own = next(key["id"] for key in ask("keys", "list") if key["name"] == "reader")
    assert say("keys", "rotate", own, "--overlap", "60").startswith("st_")
    assert say("keys", "revoke", own) == f"{own} (reader) is revoked\n"


def test_the_audit_log_is_verified_exported_and_proven(
    ask: Callable[..., Any], say: Callable[..., str], commands: Run, place: Any, tmp_path: Path
) -> None:
    from stanchion.core.security.audit.proof import verify_proof
    from stanchion.core.security.contract import InclusionProof
    from stanchion.core.security.signing import Signer

    report = ask("audit", "verify")
    assert report["ok"] and report["events"] >= 2 and report["covered"] == report["events"]
    assert say("audit", "verify").startswith("the audit log is intact\n")
    lines = say("audit", "export").splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["seq"] for event in events] == sorted(event["seq"] for event in events)
    told = ask("audit", "export", "--output", str(tmp_path / "log.jsonl"), "--after", "0")
    written = (tmp_path / "log.jsonl").read_text().splitlines()
    assert told["events"] == len(written) >= len(lines) - 1
    for words in (ask("audit", "prove", "1"), json.loads(say("audit", "prove", "1"))):
        proof = InclusionProof(**{**words, "path": tuple(words["path"])})
        public = Signer.load_or_create(place.data / "keys" / "signing.pem").public
        assert verify_proof(proof, public).size == proof.tree_size
        assert json.loads(proof.event)["seq"] == 1
    assert commands("audit", "prove", "999999", "--data", place.data, cwd=tmp_path).returncode == 2


def test_the_doctor_finds_nothing_on_a_sound_system_and_names_a_fault(
    ask: Callable[..., Any], say: Callable[..., str], commands: Run, place: Any, tmp_path: Path
) -> None:
    assert {finding["state"] for finding in ask("doctor", str(EXAMPLE))} == {"ok"}
    assert "FAULT" not in say("doctor")
    (tmp_path / "stanchion.toml").write_text('[http]\nhots = "127.0.0.1"\n')
    sick = commands("doctor", "--data", place.data, cwd=tmp_path)
    assert sick.returncode == 1
    assert "FAULT    settings     http.hots: there is no such setting; did you mean 'host'?" in sick.stdout
    (tmp_path / "stanchion.toml").unlink()
    sick = commands("doctor", "none.py", "--data", place.data, "--json", cwd=tmp_path)
    faults = [f for f in json.loads(sick.stdout) if f["state"] == "fault"]
    assert (sick.returncode, [f["check"] for f in faults]) == (1, ["system file"])


def test_each_setting_tells_where_it_comes_from(commands: Run, tmp_path: Path) -> None:
    (tmp_path / "stanchion.toml").write_text("[http]\nseconds = 20\nport = 1\n[serving]\nthreads = 3\n")
    (tmp_path / ".env").write_text("STANCHION_HTTP__PORT=2\nSTANCHION_HTTP__CONCURRENT=9\n")
    done = commands("config", "show", "--sources", "--json", cwd=tmp_path, env={"STANCHION_HTTP__CONCURRENT": "10"})
    found = {each["key"]: (each["value"], each["source"]) for each in json.loads(done.stdout)}
    assert found["http.seconds"] == ("20.0", "stanchion.toml")
    assert found["serving.threads"] == ("3", "stanchion.toml")
    assert found["http.port"] == ("2", ".env")
    assert found["http.concurrent"] == ("10", "environment")
    assert found["http.host"] == ("127.0.0.1", "default")
    text = commands("config", "show", "--sources", cwd=tmp_path).stdout
    assert re.search(r"^http\.port +2 +\.env$", text, re.MULTILINE)
    assert json.loads(commands("config", "show", "--json", cwd=tmp_path).stdout)["http.port"] == "2"


def test_the_openapi_document_is_valid(commands: Run, tmp_path: Path) -> None:
    done = commands("openapi", EXAMPLE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert "/v1/predictions" in document["paths"]
    if importlib.util.find_spec("openapi_spec_validator") is None:
        pytest.skip("openapi-spec-validator is not installed")
    from openapi_spec_validator import validate

    validate(document)
    told = commands("openapi", EXAMPLE, "--output", tmp_path / "api.json", "--json", cwd=tmp_path)
    assert json.loads(told.stdout)["paths"] == len(document["paths"])
    assert json.loads((tmp_path / "api.json").read_text()) == document
    assert sorted(p.name for p in tmp_path.iterdir()) == ["api.json"]  # no state is made for it


def test_mesh_identities_are_made_once(commands: Run, tmp_path: Path) -> None:
    made = json.loads(commands("mesh", "init", "main", "serving", "--json", cwd=tmp_path).stdout)
    assert [row["identity"] for row in made] == [f"spiffe://stanchion.local/{n}" for n in ("main", "serving")]
    key = tmp_path / made[0]["key"]
    before = key.read_bytes()
    assert key.stat().st_mode & 0o077 == 0
    assert "spiffe://stanchion.local/third" in commands("mesh", "init", "third", cwd=tmp_path).stdout
    again = commands("mesh", "init", "main", cwd=tmp_path)
    assert (again.returncode, told(again)) == (2, "main has a certificate already")
    assert key.read_bytes() == before


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "an unknown option": (("run", "--bogus"), "No such option: --bogus"),
    "an unknown command": (("models", "bogus"), "No such command 'bogus'"),
    "a missing argument": (("train", str(EXAMPLE)), "Missing argument"),
    "a missing option": (("keys", "create"), "Missing option '--name'"),
    "no number": (("run", "x.py", "--port", "x"), "Invalid value for '--port'"),
    "a missing system file": (("run", "none.py"), "there is no system file at none.py"),
    "a missing source": (("train", str(EXAMPLE), MODEL, "--source", "none.csv"), "there is no file none.csv"),
    "an undeclared model": (("train", str(EXAMPLE), "nothing"), "no training of nothing is declared"),
    "an unknown model": (("models", "show", "nothing"), "nothing is registered as nothing"),
    "an unknown stage": (("models", "promote", MODEL, "1.0.0", "--to", "heaven"), "'heaven' is no stage"),
    "an unknown key": (("keys", "revoke", "nothing"), "there is no such key"),
    "a key without rights": (("keys", "create", "--name", "x"), "the rights of a key are not valid"),
    "an impossible tenant": (("keys", "list", "--tenant", "a b"), "'a b' is no tenant"),
    "no audit log": (("audit", "verify"), "there is no audit log in"),
    "an unknown module": (("run", str(EXAMPLE), "--only", "servng"), "no module 'servng'; did you mean 'serving'?"),
    "an exposed host": (("run", str(EXAMPLE), "--host", "0.0.0.0"), "to serve on 0.0.0.0, set"),
    "an impossible port": (("run", str(EXAMPLE), "--port", "99999"), "http.port: Input should be less than"),
    "an unwritable file": (("openapi", str(EXAMPLE), "--output", "none/api.json"), "none/api.json: No such file"),
}  # fmt: skip


def test_wrong_use_is_told_in_one_line_with_the_next_step(commands: Run, tmp_path: Path) -> None:
    # Two at a time: each process spends its time on getting started.
    for name in WRONG:
        (tmp_path / name).mkdir()
    with ThreadPoolExecutor(2) as pool:
        asked = {name: pool.submit(commands, *words, cwd=tmp_path / name) for name, (words, _) in WRONG.items()}
    for name, answer in asked.items():
        done = answer.result()
        assert (name, done.returncode, done.stdout) == (name, 2, "")
        assert WRONG[name][1] in told(done)


@pytest.mark.parametrize("name", ["an unknown option", "a missing system file", "an unknown model"])
def test_wrong_use_is_a_problem_document_for_machines(commands: Run, tmp_path: Path, name: str) -> None:
    words, message = WRONG[name]
    done = commands(*words, "--json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    problem = json.loads(done.stderr)
    assert message in problem["detail"] and problem["next_step"] and problem["code"]


def test_an_unknown_setting_is_refused_with_the_nearest_name(commands: Run, tmp_path: Path) -> None:
    done = commands("config", "show", cwd=tmp_path, env={"STANCHION_SERVING__THREAD": "2"})
    assert done.returncode == 2
    assert "serving.thread: there is no such setting; did you mean 'threads'? (set in environment)" in told(done)


def test_a_data_folder_that_is_a_file_is_refused(commands: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = commands("keys", "list", "--data", "file", cwd=tmp_path)
    assert done.returncode == 2
    assert "file: File exists" in told(done)


def test_a_data_folder_of_a_newer_program_is_refused(commands: Run, data: Path) -> None:
    with sqlite3.connect(data / "state.db") as link:
        link.execute("UPDATE stanchion_schema SET version = 99 WHERE module = 'registry'")
    for arguments in (("models", "list"), ("run", str(EXAMPLE))):
        done = commands(*arguments, "--data", data, cwd=data)
        assert done.returncode == 2
        assert "the tables of registry are at version 99, newer than" in told(done)


def test_a_port_in_use_is_told(commands: Run, data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = commands("run", EXAMPLE, "--data", data, "--port", str(other.getsockname()[1]), cwd=data)
    assert done.returncode == 2
    assert "Address already in use" in told(done)
    assert "--port" in done.stderr


def test_a_reader_that_has_enough_is_no_fault(commands: Run, place: Any) -> None:
    import sys

    script = f"{sys.executable} -m stanchion audit export --data {place.data} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
