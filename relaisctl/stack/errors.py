"""What goes wrong with the local stack.

StackError
  EngineUnavailable   an engine cannot be had on this machine (no Java, no jars)
  PortInUse           a port belongs to a process that is not ours
  StartFailed         a process ended, or did not answer in time
  TopicMismatch       a topic exists with other settings than proto/topics.yaml
"""


class StackError(Exception):
    """The message names the thing, the reason and, where there is one, the setting to change."""


class EngineUnavailable(StackError):
    pass


class PortInUse(StackError):
    pass


class StartFailed(StackError):
    pass


class TopicMismatch(StackError):
    pass
