"""What goes wrong with the local stack.

StackError
  EngineUnavailableError   an engine cannot be had on this machine (no Java, no jars)
  PortInUseError           a port belongs to a process that is not ours
  StartFailedError         a process ended, or did not answer in time
  TopicMismatchError       a topic exists, with settings that proto/topics.yaml does not say
"""


class StackError(Exception):
    """The message names the thing, the reason and, where there is one, the setting to change."""


class EngineUnavailableError(StackError):
    pass


class PortInUseError(StackError):
    pass


class StartFailedError(StackError):
    pass


class TopicMismatchError(StackError):
    pass
