"""The examples for clusters: each is run, as far as one machine with two processes can."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.cli.conftest import SMALL
from tests.fixtures import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="bash, torchrun and signals as on Linux")

BIN = Path(sys.executable).parent  # where torchrun is
OURS = [*SMALL, "--device", "cpu", "--set", "validate_every=1000", "--save-every", "0.1s"]


def script(folder: Path, name: str, text: str) -> None:
    """A program that stands in for one of a cluster."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def free_port() -> int:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def submit(tmp_path):
    """submit(words): examples/slurm.sbatch begun on one node that has two cards, as sbatch runs it."""
    script(tmp_path / "slurm", "scontrol", "printf 'localhost\\nanother\\n'")
    script(tmp_path / "slurm", "srun", 'echo $$ > srun.pid; [ "$SRUN_CPUS_PER_TASK" = 4 ] && exec "$@"')
    own = {
        "SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": "localhost,another", "SLURM_NNODES": "1",
        "SLURM_GPUS_ON_NODE": "2", "SLURM_CPUS_PER_TASK": "4", "OUT": str(tmp_path / "run"), "PORT": str(free_port()),
        "PATH": f"{tmp_path / 'slurm'}:{BIN}:{os.environ['PATH']}",
    }  # fmt: skip

    def begin(*words: str) -> subprocess.Popen:
        line = ["bash", str(ROOT / "examples/slurm.sbatch"), *words]
        return subprocess.Popen(line, env=os.environ | own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    return begin


def children(process: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True)
    return [int(word) for word in found.stdout.split()]


def test_slurm_stops_a_job_and_the_second_submission_goes_on(submit, tmp_path):
    words = ["--model", "edsr", *OURS, "--data", "samples", "--steps", "60"]
    job = submit(*words)
    while job.poll() is None and not list(tmp_path.glob("run/state-*[1-9]*")):
        time.sleep(0.05)
    torchrun = int((tmp_path / "srun.pid").read_text())
    for process in (*children(torchrun), torchrun):  # as Slurm: every process of the step
        os.kill(process, signal.SIGTERM)
    told, _ = job.communicate(timeout=500)
    assert job.returncode, told
    assert "of 60 steps done" in told  # it saved before it ended, though torchrun has sent it the signal once more
    reached = max(int(path.stem[6:]) for path in tmp_path.glob("run/state-*[1-9]*"))
    job = submit(*words)
    told, _ = job.communicate(timeout=500)
    assert job.returncode == 0, told
    assert f"resumed at step {reached}" in told
    assert "rank 1 of 2" in told
    assert "60 of 60 steps done" in told


def a(kind: str, **keys: Any) -> dict[str, Any]:
    return {"type": kind, **keys}


def table(*required: str, **fields: Any) -> dict[str, Any]:
    """An object of just these fields."""
    return a("object", properties=fields, required=list(required), additionalProperties=False)


TEXT, NUMBER = a("string"), a("integer")
#: What of the published definition an example may use. Source: kubeflow/training-operator, manifests/base/crds/
#: kubeflow.org_pytorchjobs.yaml, and ValidateV1PyTorchJobSpec: a container called pytorch, which has an image.
POD = table(
    "containers",
    containers=a("array", contains={"properties": {"name": {"const": "pytorch"}}}, items=table(
        "name", "image", name=TEXT, image=TEXT, command=a("array", items=TEXT), args=a("array", items=TEXT),
        env=a("array", items=table("name", name=TEXT, value=TEXT)),
        resources=table(limits=a("object"), requests=a("object")),
        volumeMounts=a("array", items=table("name", "mountPath", name=TEXT, mountPath=TEXT)),
    )),
    volumes=a("array", items=table(
        "name", name=TEXT, persistentVolumeClaim=table("claimName", claimName=TEXT), emptyDir=table(medium=TEXT)
    )),
)  # fmt: skip
REPLICA = table(
    replicas=NUMBER, restartPolicy={"enum": ["Always", "OnFailure", "Never", "ExitCode"]}, template=table(spec=POD)
)
PYTORCHJOB = table(
    "apiVersion", "kind", "metadata", "spec",
    apiVersion={"const": "kubeflow.org/v1"}, kind={"const": "PyTorchJob"}, metadata=table("name", name=TEXT),
    spec=table(
        "pytorchReplicaSpecs",
        nprocPerNode=TEXT,
        elasticPolicy=table(
            maxReplicas=NUMBER, maxRestarts=NUMBER, minReplicas=NUMBER, nProcPerNode=NUMBER, rdzvBackend=TEXT,
            rdzvHost=TEXT, rdzvId=TEXT, rdzvPort=NUMBER, standalone=a("boolean"),
        ),
        pytorchReplicaSpecs=table(Master=REPLICA, Worker=REPLICA),
    ),
)  # fmt: skip


def test_kubernetes_takes_the_job_and_its_pods_train(tmp_path):
    job = yaml.safe_load((ROOT / "examples/kubernetes/pytorchjob.yaml").read_text())
    jsonschema.validate(job, PYTORCHJOB)
    policy, worker = job["spec"]["elasticPolicy"], job["spec"]["pytorchReplicaSpecs"]["Worker"]
    (pod,) = worker["template"]["spec"]["containers"]
    assert policy["minReplicas"] == policy["maxReplicas"] == worker["replicas"] == 2
    own = {  # as the operator sets them, of the policy; a name of a pod is this machine
        "PET_RDZV_BACKEND": policy["rdzvBackend"], "PET_RDZV_ENDPOINT": f"localhost:{free_port()}",
        "PET_NNODES": f"{policy['minReplicas']}:{policy['maxReplicas']}", "PET_LOCAL_ADDR": "localhost",
        "PET_MAX_RESTARTS": str(policy["maxRestarts"]), "PET_NPROC_PER_NODE": "auto", "PYTHONUNBUFFERED": "1",
        "PATH": f"{BIN}:{os.environ['PATH']}",
    } | {each["name"]: each["value"] for each in pod["env"]}  # fmt: skip
    volume = {mount["name"]: mount["mountPath"] for mount in pod["volumeMounts"]}["data"]
    cards = "1"  # of a pod, in the place of `gpu`
    words = [cards if word == "gpu" else word.replace(volume, str(tmp_path)) for word in pod["command"] + pod["args"]]
    words += ["--model", "edsr", *OURS, "--data", "samples", "--steps", "3"]
    pods = [
        subprocess.Popen(words, env=os.environ | own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(worker["replicas"])
    ]
    told = [pod.communicate(timeout=500)[0] for pod in pods]
    assert [pod.returncode for pod in pods] == [0, 0], told
    assert "rank 1 of 2" in "".join(told)
    assert (tmp_path / "runs/edsr/last.safetensors").is_file()
