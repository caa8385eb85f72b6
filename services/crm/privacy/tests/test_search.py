"""What the other tests search with finds what is hidden."""

import base64
import json
from urllib.parse import quote

from eventkit.tests.leaks import folded, found_in
from services.crm.privacy.tests.support import person


def test_the_search_finds_what_is_hidden() -> None:
    values = person().values()
    for value in values:
        upper = value.upper().encode()
        for hidden in (
            upper,
            value.encode("utf-16-le"),
            value.encode().hex().encode(),
            base64.b64encode(b"xy" + value.encode() + b"z"),
            json.dumps({"a": value}).encode(),
            folded(value).encode(),
            quote(value).encode(),
        ):
            assert value in found_in(b"...." + hidden + b"....", values), (value, hidden)
    assert found_in("nothing of Zébulon Quixwörth here".encode(), values) == set()
