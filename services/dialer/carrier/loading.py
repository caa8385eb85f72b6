"""A scenario from a file of YAML or JSON."""

from dataclasses import replace
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from eventkit.errors import InvalidMessage
from services.dialer.carrier.scenario import Scenario

SHIPPED = {path.stem: path for path in Path(__file__).parent.glob("*.yaml")}
DEFAULT = SHIPPED["default"]
_SCENARIO = TypeAdapter(Scenario)


def load_scenario(path: Path | None = None, speed: float | None = None) -> Scenario:
    """path: of a file, or the name of one that is shipped: `default`, `brisk`. speed: instead of
    the file's.

    Raises InvalidMessage with the field at fault, and OSError.
    """
    try:
        file = SHIPPED.get(str(path), path) or DEFAULT
        data = yaml.safe_load(file.read_text())
        scenario = _SCENARIO.validate_python(data)
        return scenario if speed is None else replace(scenario, speed=speed)
    except yaml.YAMLError as error:
        raise InvalidMessage("", f"not YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidMessage(field, first["msg"].removeprefix("Value error, ")) from error
    except ValueError as error:
        raise InvalidMessage("", str(error)) from error
