"""The local stack: real engines and our services as processes on this machine, without Docker.

with Stack(tmp_path) as stack:          # engines on free ports, stopped at the end
    stack.addresses["kafka"]            # "127.0.0.1:23456"
    stack.kill("kafka"); stack.start(["kafka"])
"""

from relaisctl.stack.errors import (
    EngineUnavailableError,
    PortInUseError,
    StackError,
    StartFailedError,
    TopicMismatchError,
)
from relaisctl.stack.settings import Broker, Ports, StackSettings
from relaisctl.stack.stack import Stack, State, Status
from relaisctl.stack.topics import TopicSpec, TopicsReport, ensure_topics, load_topics

__all__ = [
    "Broker",
    "EngineUnavailableError",
    "PortInUseError",
    "Ports",
    "Stack",
    "StackError",
    "StackSettings",
    "StartFailedError",
    "State",
    "Status",
    "TopicMismatchError",
    "TopicSpec",
    "TopicsReport",
    "ensure_topics",
    "load_topics",
]
