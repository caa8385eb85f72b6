"""docker-compose.yml and deploy/k8s/base as data: what each process is run with."""

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import yaml

from tests.contracts.contracts import ROOT

BASE = ROOT / "deploy" / "k8s" / "base"
Tree = dict[str, Any]


@dataclass(frozen=True)
class Deployed:
    """One process in one of the two places; `where` is for people.

    environment: a value that only the cluster knows (a secret, the pod's name) is empty here; what
    the compose file takes from the environment is at its default.
    probes: (path, port) that somebody asks whether the process is well.
    """

    where: str
    name: str
    image: str
    command: list[str]
    environment: dict[str, str]
    probes: list[tuple[str, int]] = field(default_factory=list)


@cache
def compose() -> Tree:
    content: Tree = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return content


def kustomization() -> Tree:
    content: Tree = yaml.safe_load((BASE / "kustomization.yaml").read_text(encoding="utf-8"))
    return content


@cache
def manifests() -> list[Tree]:
    return [
        document
        for name in kustomization()["resources"]
        for document in yaml.safe_load_all((BASE / name).read_text(encoding="utf-8"))
    ]


def of_kind(kind: str) -> dict[str, Tree]:
    return {each["metadata"]["name"]: each for each in manifests() if each["kind"] == kind}


def pods() -> dict[str, Tree]:
    """The pod templates, by the name of their workload."""
    return {
        each["metadata"]["name"]: each["spec"]["template"]
        for each in manifests()
        if "template" in each.get("spec", {})
    }


def workloads() -> dict[str, Tree]:
    return of_kind("Deployment") | of_kind("StatefulSet")


def config_maps() -> dict[str, dict[str, str]]:
    maps = {}
    for generator in kustomization()["configMapGenerator"]:
        lines = [line for env in generator["envs"] for line in (BASE / env).read_text().split()]
        maps[generator["name"]] = dict(line.split("=", 1) for line in lines)
    return maps


def in_compose() -> list[Deployed]:
    """The services that run our image."""
    return [
        Deployed(
            where=f"compose/{name}",
            name=name,
            image=service["image"],
            command=service["command"],
            environment={
                variable: re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value)
                for variable, value in service["environment"].items()
            },
            probes=[
                (path, int(port))
                for test in service["healthcheck"].get("test", [])
                for port, path in re.findall(r"http://127\.0\.0\.1:(\d+)([\w/]+)", test)
            ],
        )
        for name, service in compose()["services"].items()
        if "build" in service
    ]


def in_kubernetes() -> list[Deployed]:
    """The containers of all pods."""
    return [_container(workload, pod) for workload, pod in pods().items()]


def _container(workload: str, pod: Tree) -> Deployed:
    (container,) = pod["spec"]["containers"]
    environment: dict[str, str] = {}
    for source in container["envFrom"]:
        environment |= config_maps()[source["configMapRef"]["name"]]
    entries = {entry["name"]: entry for entry in container.get("env", [])}
    environment |= {name: entry.get("value", "") for name, entry in entries.items()}
    ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
    gets = [
        container[probe]["httpGet"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
        if "httpGet" in container.get(probe, {})
    ]
    return Deployed(
        where=f"k8s/{workload}",
        name=workload,
        image=container["image"],
        command=container["args"],
        environment=environment,
        probes=[(get["path"], ports[get["port"]]) for get in gets],
    )
