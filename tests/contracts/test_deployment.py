"""The compose file and the manifests say only what the code has, and all that it needs."""

import os
import re
import subprocess
import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from eventkit.settings import PREFIX, Settings, load
from relaisctl.__main__ import app as relaisctl
from relaisctl.stack.services import SERVICES, SIMULATORS
from tests.contracts.contracts import ROOT
from tests.contracts.deployed import (
    BASE,
    Deployed,
    compose,
    in_compose,
    in_kubernetes,
    kustomization,
    of_kind,
    pods,
    workloads,
)
from tests.contracts.tools import COMPOSE, KUBECONFORM, KUBERNETES, KUSTOMIZE, SCHEMAS, need

PROCESSES = {service.name: service for service in SERVICES}
SIMULATED = {service.name: service for service in SIMULATORS}
"""For trying it out: in the compose file, and nowhere in the cluster."""
ALL = PROCESSES | SIMULATED
TOPICS_JOB = "topics"
DEPLOYED = [*in_compose(), *in_kubernetes()]
RUNNING = [each for each in DEPLOYED if each.name != TOPICS_JOB]
ADDRESSES = {"kafka", "clickhouse", "postgres", "keys"}
where = pytest.mark.parametrize("deployed", RUNNING, ids=lambda deployed: deployed.where)


@pytest.mark.parametrize(("place", "processes"), [(in_compose, ALL), (in_kubernetes, PROCESSES)])
def test_every_process_is_deployed_with_its_command(place: Any, processes: Any) -> None:
    commands = {each.name: each.command for each in place() if each.name != TOPICS_JOB}
    assert commands == {name: [*process.arguments] for name, process in processes.items()}


@pytest.mark.parametrize("place", [in_compose, in_kubernetes])
def test_topics_are_created_by_a_command_that_exists(place: Any) -> None:
    (job,) = [each for each in place() if each.name == TOPICS_JOB]
    program, *arguments = job.command
    assert program == "relaisctl"
    done = CliRunner().invoke(relaisctl, [*arguments, "--help"])
    assert done.exit_code == 0, done.output
    assert job.environment["RELAIS_KAFKA"]


def settings_of(process: str) -> type[Settings]:
    """`services.routing worker` has the WorkerSettings of services.routing.settings."""
    package, role = ALL[process].arguments
    settings: type[Settings] = vars(import_module(f"{package}.settings"))[f"{role.title()}Settings"]
    return settings


@where
def test_every_variable_is_a_setting_of_its_process(deployed: Deployed) -> None:
    known = {PREFIX + name.upper() for name in settings_of(deployed.name).model_fields}
    assert set(deployed.environment) <= known


@where
def test_settings_are_accepted(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    # What only the cluster knows is as good as what the compose file has in its place.
    (local,) = [each.environment for each in in_compose() if each.name == deployed.name]
    for name, value in deployed.environment.items():
        monkeypatch.setenv(name, value or local.get(name, ""))
    load(settings_of(deployed.name))


@where
def test_every_address_is_given(deployed: Deployed) -> None:
    """The defaults are the local stack's, where everything is on 127.0.0.1."""
    fields = settings_of(deployed.name).model_fields
    needed = {name for name in fields if name in ADDRESSES or name.endswith("_host")}
    if "health" not in ALL[deployed.name].port:
        needed.remove("health_host")  # it answers on its own port
    given = {name.removeprefix(PREFIX).lower() for name in deployed.environment}
    assert needed <= given
    hosts = {name: deployed.environment[PREFIX + name.upper()] for name in needed - ADDRESSES}
    assert set(hosts.values()) == {"0.0.0.0"}


@where
def test_probes_ask_where_the_process_answers(deployed: Deployed) -> None:
    process = ALL[deployed.name]
    variable = "RELAIS_HEALTH_PORT" if "health" in process.port else f"{PREFIX}{process.port}_PORT"
    port = int(deployed.environment[variable.upper()])
    assert {asked for _, asked in deployed.probes} == {port}
    # That these answer is seen by tests/integration/test_processes.py.
    kubernetes = deployed.where.startswith("k8s/")
    wanted = {"/health/live", "/health/ready"} if kubernetes else {"/health/ready"}
    assert {path for path, _ in deployed.probes} == wanted


def test_processes_wait_for_what_they_need() -> None:
    """In the compose file; in Kubernetes a process starts again until its engines are there."""
    services = compose()["services"]
    for name in PROCESSES:
        after = {other: what["condition"] for other, what in services[name]["depends_on"].items()}
        wanted = {"topics": "service_completed_successfully"}
        for engine in ("clickhouse", "postgres"):
            if f"RELAIS_{engine.upper()}" in services[name]["environment"]:
                wanted[engine] = "service_healthy"
        assert after == wanted
    for service in services.values():
        for other, what in service.get("depends_on", {}).items():
            assert other in services
            if what["condition"] == "service_healthy":
                assert services[other]["healthcheck"]["test"]


def test_images_are_pinned() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    images = {name: service["image"] for name, service in compose()["services"].items()}
    for name, image in images.items():
        assert re.fullmatch(r"[a-z/-]+:\d+\.\d+[\w.-]*", image), f"{name}: {image}"
    assert {each.image for each in in_compose()} == {f"relais:{version}"}
    assert {each.image for each in in_kubernetes()} == {"relais"}
    assert kustomization()["images"] == [{"name": "relais", "newTag": version}]


def test_engines_are_those_of_the_local_stack() -> None:
    """The same Kafka, and ClickHouse of the release that chDB is built from."""
    pom = (ROOT / "deploy" / "kafka" / "pom.xml").read_text(encoding="utf-8")
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    kafka = re.search(r"kafka_[\d.]+</artifactId>\s*<version>([\d.]+)<", pom)
    chdb = re.search(r"^chdb-core==(\d+\.\d+)", lock, re.MULTILINE)
    assert kafka is not None
    assert chdb is not None
    services = compose()["services"]
    assert services["kafka"]["image"] == f"apache/kafka:{kafka[1]}"
    assert services["clickhouse"]["image"] == f"clickhouse/clickhouse-server:{chdb[1]}"


def test_ports_are_published_on_this_machine_only() -> None:
    for name, service in compose()["services"].items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name


def test_passwords_are_in_no_manifest() -> None:
    for each in in_kubernetes():
        for name, value in each.environment.items():
            assert "@" not in value, f"{each.where}: {name}"
    assert not of_kind("Secret")


def test_pods_meet_the_restricted_standard() -> None:
    labels = of_kind("Namespace")["relais"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, pod in pods().items():
        assert not restricted(pod["spec"]), name


def restricted(pod: dict[str, Any]) -> list[str]:
    """What the Pod Security Standard (restricted), or we ourselves, would refuse."""
    security = pod.get("securityContext", {})
    wrong = []
    if security.get("runAsNonRoot") is not True or not security.get("runAsUser"):
        wrong.append("runAsNonRoot")
    if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
        wrong.append("seccompProfile")
    if pod.get("automountServiceAccountToken") is not False:
        wrong.append("automountServiceAccountToken")
    wrong += [f"{key}" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    wrong += [f"volume {v['name']}" for v in pod.get("volumes", []) if "hostPath" in v]
    for container in pod["containers"]:
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
            wrong.append("allowPrivilegeEscalation")
        if own.get("capabilities") != {"drop": ["ALL"]}:
            wrong.append("capabilities")
        if own.get("readOnlyRootFilesystem") is not True:
            wrong.append("readOnlyRootFilesystem")
        if {"cpu", "memory"} - set(container["resources"]["requests"]):
            wrong.append("requests")
        if "memory" not in container["resources"]["limits"]:
            wrong.append("limits")
    return wrong


@pytest.mark.parametrize("key", ["securityContext", "automountServiceAccountToken"])
def test_a_lax_pod_is_found(key: str) -> None:
    pod = dict(pods()["routing-api"]["spec"])
    del pod[key]
    assert restricted(pod)


@pytest.mark.parametrize("key", ["securityContext", "resources"])
def test_a_lax_container_is_found(key: str) -> None:
    pod = dict(pods()["routing-api"]["spec"])
    (container,) = pod["containers"]
    pod["containers"] = [container | {key: {"requests": {}, "limits": {}}}]
    assert restricted(pod)


def test_selectors_find_their_pods() -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods().items()}
    for name, workload in workloads().items():
        assert workload["spec"]["selector"]["matchLabels"] == labels[name]
        assert (
            of_kind("PodDisruptionBudget")[name]["spec"]["selector"]["matchLabels"] == labels[name]
        )
    for name, service in of_kind("Service").items():
        assert service["spec"]["selector"] == labels[name]
        (container,) = pods()[name]["spec"]["containers"]
        ports = {port["name"] for port in container["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def test_no_more_consumers_than_partitions() -> None:
    """Of a group: who is called by others, and so has a Service, reads topics whole."""
    topics = yaml.safe_load((ROOT / "proto" / "topics.yaml").read_text("utf-8"))["topics"]
    for name in PROCESSES.keys() - of_kind("Service").keys():
        read = [topic["partitions"] for topic in topics.values() if name in topic["consumers"]]
        if read:  # crm-relay reads its database
            assert workloads()[name]["spec"]["replicas"] <= max(read), name


def test_compose_file_conforms_to_the_specification() -> None:
    need(COMPOSE.path)
    assert composes(ROOT / "docker-compose.yml") == ""


def test_a_mistake_in_the_compose_file_is_found(tmp_path: Path) -> None:
    need(COMPOSE.path)
    path = tmp_path / "docker-compose.yml"
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    path.write_text(text.replace("read_only:", "readonly:"), encoding="utf-8")
    assert "readonly" in composes(path)


def composes(path: Path) -> str:
    """What the specification's own loader has against a compose file."""
    done = subprocess.run([COMPOSE.path, path], cwd=ROOT, capture_output=True, text=True)
    return done.stderr if done.returncode else ""


def test_manifests_conform_to_kubernetes() -> None:
    built = kustomize()
    assert conforms(built) == ""
    assert set(built.split()) >= {f"relais:{kustomization()['images'][0]['newTag']}"}


def test_a_mistake_in_the_manifests_is_found() -> None:
    deployment = next(each for each in kustomize().split("---") if "readinessProbe" in each)
    wrong = conforms(deployment.replace("readinessProbe:", "readynessProbe:"))
    assert "readynessProbe" in wrong


@cache
def kustomize() -> str:
    need(KUSTOMIZE.path)
    done = subprocess.run([KUSTOMIZE.path, "build", BASE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def conforms(built: str) -> str:
    """What kubeconform has against rendered manifests, unknown fields included."""
    need(KUBECONFORM.path, SCHEMAS)
    schemas = f"{SCHEMAS}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    done = subprocess.run(
        [
            *(KUBECONFORM.path, "-strict", "-schema-location", schemas),
            *("-kubernetes-version", KUBERNETES.removeprefix("v")),
        ],
        input=built,
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr if done.returncode else ""
