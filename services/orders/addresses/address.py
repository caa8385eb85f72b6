"""An address as orders keeps it. Pure; what a country makes of it is in rules.py."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Address:
    """Where something is taken from, brought to, or done. All of it is personal.

    country      ISO 3166-1, two letters
    lines        street and house number and what belongs to it, a line each
    region       state or province, as the country writes it on an envelope
    as_spoken    the customer's own words, verbatim, and never corrected
    """

    country: str
    lines: tuple[str, ...]
    postal_code: str = ""
    locality: str = ""
    region: str = ""
    as_spoken: str = ""

    def texts(self) -> dict[str, str]:
        """For a `Personal[Mapping[str, str]]` of an event: what is not empty, lines as one text."""
        texts = {
            "country": self.country,
            "lines": "\n".join(self.lines),
            "postal_code": self.postal_code,
            "locality": self.locality,
            "region": self.region,
            "as_spoken": self.as_spoken,
        }
        return {name: text for name, text in texts.items() if text}

    @classmethod
    def of_texts(cls, texts: Mapping[str, str]) -> "Address":
        """The other way round. {}, which is left of an erased customer's, is an empty one."""
        lines = texts.get("lines", "")
        return cls(
            country=texts.get("country", ""),
            lines=tuple(lines.split("\n")) if lines else (),
            postal_code=texts.get("postal_code", ""),
            locality=texts.get("locality", ""),
            region=texts.get("region", ""),
            as_spoken=texts.get("as_spoken", ""),
        )
