"""What is asked wrongly, and what goes wrong: each answer is a problem that says what to do."""

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import structlog

from emag_syncd.sandbox import Sandbox
from tests.support.daemon import Answer, Site, serving, settings_for
from tests.support.server import database_proxy
from tests.web.conftest import API, PROBLEM, send

JSON = {"Content-Type": "application/json"}


def assert_problem(answer: Answer, status: int) -> None:
    """Check that the answer is as RFC 9457 has it."""
    assert (answer.status, answer.headers["Content-Type"]) == (status, PROBLEM)
    assert answer.json.keys() >= {"type", "title", "status", "detail", "instance"}
    assert answer.json["status"] == status
    assert "Traceback" not in answer.text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"mode": "everything"}, "mode: input should be 'full', 'incremental' or 'selective'"),
        ({"pages": 3}, "'pages' is unknown; known are account_type, mode, max_pages"),
        ({"max_pages": 0}, "max_pages: input should be greater than or equal to 1"),
        ({"max_pages": "2"}, "max_pages: input should be a valid integer"),
        ({"max_pages": True}, "max_pages"),
        ({"max_pages": 10**30}, "max_pages"),
        ({"items_per_page": 101}, "items_per_page: input should be less than or equal to 100"),
        ({"items_per_page": 0}, "items_per_page"),
        ({"run_async": "yes"}, "run_async: input should be a valid boolean"),
        ({"account_type": "other"}, 'no account is called "other": configured are: main, fbe'),
        ({"account_type": ""}, "account_type"),
        ({"account_type": "ma\0in"}, "account_type"),
        ({"account_type": 7}, "account_type: input should be a valid string"),
        ({"conflict_strategy": "local_priority"}, "conflict_strategy must be emag_priority: the database mirrors"),
        ({"mode": "selective"}, "mode selective needs filters: any of id, status, part_number"),
        ({"mode": "full", "filters": {"id": 1}}, "filters go with mode selective only, and the mode is full"),
        ({"mode": "selective", "filters": {"brand": "x"}}, "'brand' is no filter of the marketplace"),
        ({"mode": "selective", "filters": {"id": 0}}, "id must be a whole number from 1 to 4294967295"),
        ({"mode": "selective", "filters": {"status": True}}, "status must be a whole number from 0 to 1"),
        ({"mode": "selective", "filters": {"validation_status": 7}}, "from 1 to 6 or 8 to 12"),
        ({"mode": "selective", "filters": {"general_stock": 1.5}}, "general_stock must be a whole number"),
        ({"mode": "selective", "filters": {"part_number": ["a"]}}, "part_number must be a text"),
        ({"mode": "selective", "filters": {"part_number": "a\0"}}, "part_number must be a text"),
        ([], "the body: input should be an object"),
        (None, "the body: input should be an object"),
        ("sync", "the body: input should be an object"),
    ],
)
async def test_what_a_sync_can_not_be(site: Site, body: Any, said: str) -> None:
    """Every bad parameter is 422, named, with what is allowed; and nothing runs."""
    answer = await site.ask("POST", f"{API}/sync", data=json.dumps(body), headers=JSON)
    assert_problem(answer, 422)
    assert said in answer.json["detail"]
    assert not site.core.supervisor.handles()


async def test_all_that_is_wrong_is_said_at_once(site: Site) -> None:
    """A body with several mistakes gets a line for each."""
    answer = await site.post(f"{API}/sync", {"mode": 1, "max_pages": 0, "colour": "red"})
    assert_problem(answer, 422)
    assert len(answer.json["errors"]) == 3


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{'mode': 'full'}",
        b"mode=full",
        b"\xff\xfe",
        b'{"account_type": "\xff"}',
        b'{"account_type": "\\ud800"}',
        b"[" * 60_000,
        b'{"max_pages": NaNNaN}',
    ],
)
async def test_a_body_that_is_not_json(site: Site, body: bytes) -> None:
    """What can't be read as JSON is 400, and says where."""
    answer = await site.ask("POST", f"{API}/sync", data=body, headers=JSON)
    assert_problem(answer, 400)
    assert "the body is not JSON" in answer.json["detail"]


@pytest.mark.parametrize("number", ["9" * 30_000, "1e400", "-0", "NaN"])
async def test_odd_numbers_are_refused(site: Site, number: str) -> None:
    """A number beyond all measure costs the daemon nothing."""
    body = f'{{"mode": "selective", "filters": {{"id": {number}}}}}'
    answer = await site.ask("POST", f"{API}/sync", data=body, headers=JSON)
    assert answer.status in {400, 422}
    assert_problem(answer, answer.status)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "text/json", "x"])
@pytest.mark.parametrize("path", ["sync", "cleanup-stuck-syncs", "test-connection"])
async def test_a_body_of_another_type(site: Site, path: str, content_type: str) -> None:
    """What a form of another site could send is 415, even where it holds JSON."""
    answer = await site.ask("POST", f"{API}/{path}", data=b"{}", headers={"Content-Type": content_type})
    assert_problem(answer, 415)
    assert "application/json" in answer.json["detail"]


async def test_a_charset_does_no_harm(site: Site) -> None:
    """JSON is JSON with parameters in its type, too."""
    headers = {"Content-Type": "application/json; charset=utf-8"}
    answer = await site.ask("POST", f"{API}/cleanup-stuck-syncs", data=b'{"timeout_minutes": 7}', headers=headers)
    assert answer.json["data"]["timeout_minutes"] == 7


async def chunks() -> Any:
    """Yield a body without a length, too large."""
    for _ in range(100):
        yield b" " * 1000


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_that_is_too_large(site: Site, chunked: bool) -> None:
    """More than 64 KiB are 413, whether or not they were announced."""
    data = chunks() if chunked else b" " * 100_000
    answer = await site.ask("POST", f"{API}/sync", data=data, headers=JSON)
    assert_problem(answer, 413)
    assert "64 KiB" in answer.json["detail"]


async def test_a_body_that_does_not_come(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who announces a body and does not send it is not waited for."""
    monkeypatch.setattr("emag_syncd.web.parameters.LONGEST_BODY_SECONDS", 0.1)
    head = f"POST {API}/sync HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 9\r\n\r\n"
    answer = await send(site, head.encode())
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"within 0.1 s" in answer


async def test_parameters_in_the_wrong_place(site: Site) -> None:
    """A sync asked for in the address would be another one than was meant."""
    answer = await site.ask("POST", f"{API}/sync?mode=full")
    assert_problem(answer, 422)
    assert "put them into the JSON body" in answer.json["detail"]
    both = await site.post(f"{API}/cleanup-stuck-syncs?timeout_minutes=20", {"timeout_minutes": 5})
    assert_problem(both, 422)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("limit=0", "limit: input should be greater"),
        ("limit=101", "limit: input should be less"),
        ("limit=many", "limit: input should be a valid integer"),
        ("status=gone", "status: input should be 'running', 'completed', 'partial', 'failed' or 'cancelled'"),
        ("before=yesterday", "before must be an ISO 8601 time"),
        ("before=1700000000", "before must be an ISO 8601 time"),
        ("before=0001-01-01T00:00:00%2B14:00", "before must be an ISO 8601 time"),
        ("account_type=%00", "account_type"),
        ("offset=3", "'offset' is unknown; known are limit, account_type, status, before"),
        ("%ED%A0%80=1", "is unknown"),
    ],
)
async def test_what_can_not_be_asked_of_history(site: Site, query: str, said: str) -> None:
    """A bad or unknown parameter is 422 and named."""
    answer = await site.get(f"{API}/history?{query}")
    assert_problem(answer, 422)
    assert said in answer.json["detail"]


@pytest.mark.parametrize("query", ["account_type=%ED%A0%80", "account_type=%FF", "before=9999-12-31T23:59:59-14:00"])
async def test_odd_values_find_nothing_and_break_nothing(site: Site, query: str) -> None:
    """Text that is no Unicode, and times at the end of time."""
    assert (await site.get(f"{API}/history?{query}")).status in {200, 422}


@pytest.mark.parametrize("minutes", ["4", "61", "soon", "5.5"])
async def test_clean_up_has_bounds(site: Site, minutes: str) -> None:
    """Runs younger than five minutes are not cleaned up, and older than an hour not left."""
    assert_problem(await site.ask("POST", f"{API}/cleanup-stuck-syncs?timeout_minutes={minutes}"), 422)


async def test_unknown_paths_and_methods(site: Site) -> None:
    """404 and 405 are problems as well, and 405 says what is allowed."""
    assert_problem(await site.get("/api/v1/emag/nothing"), 404)
    answer = await site.get(f"{API}/sync")
    assert_problem(answer, 405)
    assert answer.headers["Allow"] == "POST"
    assert answer.json["instance"] == f"{API}/sync"


async def test_an_error_of_ours_is_logged_and_not_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw is 500 without its words, which are in the log."""

    def fail() -> None:
        raise RuntimeError("the secret is 42")

    monkeypatch.setattr(site.schedule, "next_runs", fail)
    with structlog.testing.capture_logs() as lines:
        answer = await site.get(f"{API}/status")
    assert_problem(answer, 500)
    assert "secret" not in answer.text
    (line,) = [line for line in lines if line["action"] == "request_failed"]
    assert line["log_level"] == "error"
    assert line["exc_info"]


async def test_every_request_has_a_line_in_the_log(site: Site) -> None:
    """At debug level there is a line a request, with what became of it and without its parameters."""
    with structlog.testing.capture_logs() as lines:
        await site.get(f"{API}/history?limit=3")
    (line,) = [line for line in lines if line["action"] == "request"]
    assert line.items() >= {"log_level": "debug", "method": "GET", "path": f"{API}/history", "status": 200}.items()


async def test_a_database_that_is_away(sandbox: Sandbox, database_url: str, tmp_path: Path) -> None:
    """Whatever needs the database is 503 and says when to come back; no password is in it."""
    async with AsyncExitStack() as stack:
        _, through = await stack.enter_async_context(database_proxy(database_url))
        async with serving(settings_for(sandbox, tmp_path), through) as site:
            await stack.aclose()
            for method, path in [
                ("GET", "status"),
                ("GET", "history"),
                ("POST", "sync"),
                ("DELETE", f"sync/{'0' * 32}"),
            ]:
                answer = await site.ask(method, f"{API}/{path}")
                assert_problem(answer, 503)
                assert answer.json["kind"] == "database"
                assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET " + b"/a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example.com\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /livez\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused(site: Site, request_bytes: bytes) -> None:
    """Bytes that are no request are answered with an error, and the next request with what it asks for."""
    answer = await send(site, request_bytes)
    assert answer.split(b" ")[1].startswith(b"4")
    assert b"Traceback" not in answer
    assert (await site.get("/livez")).status == 200
