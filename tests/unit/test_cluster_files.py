"""The files of `docs/cluster` are what they say: they can be read, and use options and settings that there are."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from engine.config import variable_of
from engine.loading import setting_names

FOLDER = Path(__file__).parents[2] / "docs" / "cluster"


def documents() -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text()))


def test_kubernetes_has_a_cluster_and_a_job_that_speak_of_each_other() -> None:
    cluster, job = documents()
    assert (cluster["apiVersion"], cluster["kind"]) == ("kubernetes.dask.org/v1", "DaskCluster")
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    (engine,) = job["spec"]["template"]["spec"]["containers"]
    (worker,) = cluster["spec"]["worker"]["spec"]["containers"]
    (scheduler,) = cluster["spec"]["scheduler"]["spec"]["containers"]
    address = (
        f"tls://{cluster['metadata']['name']}-scheduler:{cluster['spec']['scheduler']['service']['ports'][0]['port']}"
    )
    assert address in worker["args"]
    assert address in engine["command"]
    assert engine["image"] == worker["image"] == scheduler["image"] == "IMAGE"
    own = {each["name"] for each in worker["env"]}
    referred = {each.removeprefix("env:") for each in engine["command"] if each.startswith("env:")}
    assert referred <= own
    assert referred <= {each["name"] for each in engine["env"]}


def test_kubernetes_uses_options_and_settings_that_there_are() -> None:
    _, job = documents()
    (engine,) = job["spec"]["template"]["spec"]["containers"]
    known = set(re.findall(r"--[\w-]+", (FOLDER.parent / "commands.md").read_text()))
    assert {each for each in engine["command"] if each.startswith("--")} <= known
    variables = {variable_of(name) for name in setting_names()}
    assert {each["name"] for each in engine["env"] if each["name"].startswith("MONGOPG_")} <= variables


def test_what_the_operator_makes_of_it_has_no_field_that_kubernetes_does_not_know() -> None:
    operator: Any = pytest.importorskip("dask_kubernetes.operator.controller.controller")
    client: Any = pytest.importorskip("kubernetes.client")
    cluster, job = documents()
    name, spec = cluster["metadata"]["name"], cluster["spec"]
    labels = {"app": "mongopg"}
    made = {
        "V1Deployment": [
            operator.build_scheduler_deployment_spec(name, spec["scheduler"]["spec"], {}, labels),
            operator.build_worker_deployment_spec(
                f"{name}-default", "default", name, "0", spec["worker"]["spec"], {}, labels
            ),
        ],
        "V1Service": [operator.build_scheduler_service_spec(name, spec["scheduler"]["service"], {}, labels)],
        "V1Job": [job],
    }
    api = client.ApiClient()
    for kind, each in ((kind, each) for kind, objects in made.items() for each in objects):
        read = api.deserialize(json.dumps(each), kind, "application/json")
        assert api.sanitize_for_serialization(read) == each  # it drops what it does not know
    (worker,) = made["V1Deployment"][1]["spec"]["template"]["spec"]["containers"]
    assert set(re.findall(r"\$\((\w+)\)", " ".join(worker["args"]))) <= {each["name"] for each in worker["env"]}


def test_the_program_for_slurm_can_be_read() -> None:
    tree = ast.parse((FOLDER / "slurm.py").read_text())
    assert {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)} == {"cluster"}


def test_certificates_are_made_and_only_their_owner_may_read_the_keys(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl(1) is not here")
    made = tmp_path / "tls"
    subprocess.run(["sh", FOLDER / "certificates.sh", made], check=True, capture_output=True)
    assert {each.name for each in made.iterdir()} == {"ca.pem", "ca-key.pem", "node.pem", "node-key.pem"}
    assert all(each.stat().st_mode & 0o077 == 0 for each in made.iterdir())
    checked = subprocess.run(
        ["openssl", "verify", "-CAfile", made / "ca.pem", made / "node.pem"], capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
