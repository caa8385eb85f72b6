"""A person whom nobody else in the database is like, and a search for what is left of them."""

import random
import string
from collections.abc import Awaitable
from typing import Any

import httpx

from eventkit.tests.leaks import dump
from eventkit.topictable import read_partition
from relaisctl.stack import load_topics
from services.conftest import Postgres


def person() -> dict[str, str]:
    """Personal values of every kind, each word of which is of this person alone."""
    mark = "".join(random.choices(string.ascii_lowercase, k=7))
    digits = "".join(random.choices(string.digits, k=7))
    return {
        "name": f"Zébulon{mark} Quixwörth{mark}-Åström{mark}",
        "name again": f"Z. Qüixworth{mark}",
        "phone": f"+3361{digits}",
        "second phone": f"+3376{digits[::-1]}",
        "email": f"Zeb.{mark}Quix@example{mark}.org",
        "number": f"KD-{mark}-{digits}1",
        "second number": f"KD-{mark}-{digits}2",
        "address": f"rue{mark} des Xylographes{mark}",
        "note": f"xylonote{mark} rappelé{mark} après{mark}",
        "refusal": f"xylorefus{mark} déjà{mark}",
        "complaint": f"xyloplainte{mark} vase{mark} cassé{mark}",
        "findings": f"xyloenquête{mark} vasemïng{mark}",
        "wish": f"xylosouhait{mark} braïlle{mark}",
        "survey answer": f"xylosondage{mark} dëçu{mark}",
        "consent reference": f"xylopreuve{mark}0042",
        "consent place": f"xylolieu{mark}",
        "consent text": f"xyloconsentement{mark} oral{mark}",
        "objection": f"xyloretrait{mark} plusjamais{mark}",
    }


async def everything(database: str, postgres: Postgres) -> bytes:
    crm, keys = await dump(database), await dump(postgres.keys)
    assert {"events", "customers", "calls", "consents", "commands"} <= crm.keys()
    assert "subject_keys" in keys
    return b"\n".join((*crm.values(), *keys.values()))


async def all_topics(bootstrap: str) -> bytes:
    """Keys, values and headers of every record of every topic."""
    data = []
    for topic in load_topics():
        for partition in range(topic.partitions):
            async for chunk in read_partition(bootstrap, topic.name, partition):
                for record in chunk:
                    data += [record.key or b"", record.value or b""]
                    for name, value in record.headers:
                        data += [name.encode(), value or b""]
    return b"\n".join(data)


async def ok(answer: Awaitable[httpx.Response]) -> Any:
    response = await answer
    assert response.is_success, response.text
    return response.json()
