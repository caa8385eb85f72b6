"""relaisctl as it is run, against crm's HTTP: import, list, show."""

import asyncio
import csv
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from eventkit.callers import Role
from eventkit.http import make_app, serve
from eventkit.tests.support import until
from relaisctl.complaint_file import COLUMNS
from services.crm.complaints.api import router
from services.crm.complaints.service import Complaints
from services.crm.complaints.tests.support import CALLERS, token


@pytest.fixture
async def url(service: Complaints) -> AsyncIterator[str]:
    async def known(_: str) -> bool:
        return True

    app = make_app("crm", "1", CALLERS, known)
    app.include_router(router(service))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(app, "127.0.0.1", port, stop))

    async def up() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    await until(up, "the server listens")
    yield f"http://127.0.0.1:{port}"
    stop.set()
    await serving


async def test_import_list_and_show(url: str, client_id: str, tmp_path: Path) -> None:
    environment = os.environ | {
        "RELAIS_CRM": url,
        "RELAIS_TOKEN": token([client_id], Role.SUPERVISOR),
        "RELAIS_HOME": str(tmp_path),
    }

    async def run(*arguments: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "relaisctl", *arguments, "--client", client_id),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    file, report = tmp_path / "tickets.csv", tmp_path / "report.csv"
    row = dict.fromkeys(COLUMNS, "x") | {
        "Ticket #": "250635",
        "Customer Complaint": "Internet speeds",
        "Date": "22-04-2015",
        "Date_month_year": "22-Apr-15",
        "Time": "03:53:50 PM",
        "Status": "Solved",
        "Filing on Behalf of Someone": "No",
    }
    with file.open("w", newline="") as opened:
        out = csv.DictWriter(opened, COLUMNS)
        out.writeheader()
        out.writerows([row, row | {"Ticket #": "none of your business"}])
    options = ("--report", str(report), "--format", "json")
    code, text, err = await run("import", "complaints", str(file), "--dry-run", *options)
    assert code == 0, err
    assert json.loads(text)["accepted"] == 1
    assert json.loads((await run("complaint", "list", "--format", "json"))[1]) == []
    code, text, err = await run("import", "complaints", str(file), "--report", str(report))
    assert code == 0, err
    assert "not a number" in text
    assert "business" not in text + report.read_text()
    code, text, err = await run("complaint", "list", "--state", "closed", "--format", "json")
    assert code == 0, err
    (listed,) = json.loads(text)
    assert (listed["reference"], listed["imported_status"]) == ("250635", "solved")
    code, text, err = await run("complaint", "show", listed["complaint_id"])
    assert code == 0, err
    assert "Internet speeds" in text
    assert "ComplaintClosed" in text
    code, _, err = await run("complaint", "show", "nobody")
    assert (code, "no such complaint" in err) == (2, True)
    code, _, err = await run("import", "complaints", str(tmp_path / "missing.csv"))
    assert (code, "No such file" in err) == (2, True)
