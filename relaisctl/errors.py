"""What can go wrong with a command, as one line on standard error and an exit code."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from aiokafka.errors import KafkaError

BAD_INPUT, UNREACHABLE, NOT_LOADED, INTERRUPTED = 2, 3, 4, 130


class InputError(ValueError):
    """An argument, or what a file holds, cannot be used. The message is one line for people."""


class UnreachableError(Exception):
    """A service does not answer, or refuses what it should take. One line for people."""


@contextmanager
def explained() -> Iterator[None]:
    """Turn bad input and an unreachable Kafka into typer.Exit, with the reason on stderr."""
    # What aiokafka logs of a broker that does not answer is said once, by us; and what a table
    # had to skip is in the services' logs, since it is not what was asked here.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    logging.getLogger("eventkit").setLevel(logging.ERROR)
    try:
        yield
    except InputError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(BAD_INPUT) from error
    except UnreachableError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(UNREACHABLE) from error
    except (KafkaError, LookupError, TimeoutError) as error:
        typer.echo(f"Kafka: {error or type(error).__name__}", err=True)
        raise typer.Exit(UNREACHABLE) from error
