"""A form <-> its document, which is what people write and HTTP shows: JSON, with the schema and the
defaults as what they are and not as text, and the decimals as text."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from eventkit.decider import Invalid
from services.orders.forms.form import Form
from services.orders.forms.profile import text_of
from services.orders.prices.currency import digits


def form_of(document: Mapping[str, Any]) -> Form:
    """A form that nobody has checked yet; null is as if left out. Raises Invalid."""
    plain = _given(document)
    plain["schema"] = text_of(plain.get("schema"))
    plain["fields"] = [
        _given(field) | {"default": _default(f"fields.{number}.default", field.get("default"))}
        for number, field in enumerate(plain.get("fields", ()))
    ]
    for name in ("prices", "checklist"):
        plain[name] = [_given(one) for one in plain.get(name, ())]
    if plain.get("currency"):
        plain["digits"] = digits(plain["currency"])
    try:
        return msgspec.convert(plain, Form)
    except msgspec.ValidationError:
        raise Invalid("form", "is no form: something is missing, or of another type") from None


def document_of(form: Form) -> dict[str, Any]:
    """The other way round."""
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(form))
    document["schema"] = json.loads(form.schema)
    for field in document["fields"]:
        field["default"] = json.loads(field["default"]) if field["default"] else None
    # The currency says it.
    del document["digits"]
    return document


def _given(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value is not None}


def _default(where: str, value: Any) -> str:
    return "" if value is None else text_of(value, where)
