"""What each kind of answer means, over real HTTP."""

import json
import threading
from typing import Any

import pytest
from aiohttp import web

from emag_syncd.domain.errors import (
    CredentialsError,
    IpNotAllowedError,
    MarketplaceError,
    ProtocolError,
    RejectedError,
    UnavailableError,
)
from emag_syncd.marketplace.answers import read_answer
from emag_syncd.marketplace.client import Client
from emag_syncd.marketplace.errors import TransientError
from tests.marketplace.conftest import Marketplace, Noted, ok

UNKNOWN_IP = "ERROR: Invalid vendor ip [93.115.4.20]"
NO_RIGHT = "You are not allowed to use this API."


def reply(status: int, body: Any, content_type: str = "application/json") -> web.Response:
    """Return an answer with this body, JSON unless it is text or bytes."""
    data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return web.Response(status=status, body=data, headers={"Content-Type": content_type})


@pytest.mark.parametrize(
    ("answer", "kind", "outcome", "says"),
    [
        (
            reply(200, {"isError": True, "messages": [UNKNOWN_IP]}),
            IpNotAllowedError,
            "ip_not_allowed",
            "93.115.4.20",
        ),
        (
            reply(200, {"isError": False, "messages": UNKNOWN_IP, "results": []}),
            IpNotAllowedError,
            "ip_not_allowed",
            "whitelist",
        ),
        (reply(403, {"message": UNKNOWN_IP}), IpNotAllowedError, "ip_not_allowed", "account main"),
        (reply(500, f"<b>{UNKNOWN_IP}</b>", "text/html"), IpNotAllowedError, "ip_not_allowed", "93.115.4.20"),
        (reply(401, ""), CredentialsError, "credentials", r"accounts\.main\.username"),
        (
            reply(403, {"isError": True, "messages": [NO_RIGHT], "results": []}),
            CredentialsError,
            "credentials",
            "API rights",
        ),
        (
            reply(200, {"isError": True, "messages": [{"text": NO_RIGHT}]}),
            CredentialsError,
            "credentials",
            "not allowed",
        ),
        (reply(400, {"message": "Bad page"}), RejectedError, "rejected", "Bad page"),
        (reply(422, {"errors": {"id": ["must be a number"]}}), RejectedError, "rejected", "must be a number"),
        (reply(404, "<html>", "text/html"), RejectedError, "rejected", "status 404"),
        (
            reply(200, {"isError": True, "messages": ["a", {"message": "b"}, {"text": "c"}]}),
            RejectedError,
            "rejected",
            "a; b; c",
        ),
        (reply(200, {"isError": True}), RejectedError, "rejected", "without a message"),
        (
            web.Response(status=302, headers={"Location": "https://elsewhere.example/"}),
            ProtocolError,
            "bad_answer",
            "redirects .302. to https://elsewhere",
        ),
    ],
)
async def test_an_answer_that_ends_the_run(
    marketplace: Marketplace,
    client: Client,
    noted: Noted,
    answer: web.Response,
    kind: type[MarketplaceError],
    outcome: str,
    says: str,
) -> None:
    """What another attempt can't change is raised at once, as what it is, with the words that help."""
    marketplace.says(answer)
    with pytest.raises(kind, match=says) as failure:
        await client.count({})
    assert type(failure.value) is kind
    assert failure.value.remedy or kind is RejectedError
    assert noted.outcomes == [outcome]


@pytest.mark.parametrize(
    ("answer", "shrink", "outcome", "final", "says"),
    [
        (reply(500, "oops"), True, "server_error", UnavailableError, "status 500"),
        (reply(502, "<html>", "text/html"), True, "server_error", UnavailableError, "status 502"),
        (reply(408, {"message": "timeout"}), True, "server_error", UnavailableError, "status 408"),
        (reply(204, ""), True, "bad_answer", ProtocolError, "an empty answer"),
        (reply(200, " \n"), True, "bad_answer", ProtocolError, "an empty answer"),
        (
            reply(200, "<html>hello</html>", "text/html"),
            False,
            "bad_answer",
            ProtocolError,
            "not JSON .status 200, text/html",
        ),
        (
            reply(200, '{"isError": false, "results": [{"id": 1}, {"id'),
            True,
            "bad_answer",
            ProtocolError,
            "cut short",
        ),
        (reply(200, {"results": []}), False, "bad_answer", ProtocolError, "without isError"),
        (reply(200, {"isError": 0, "results": []}), False, "bad_answer", ProtocolError, "without isError"),
        (
            reply(200, {"isError": "false", "results": []}),
            False,
            "bad_answer",
            ProtocolError,
            "without isError",
        ),
        (reply(200, {"isError": None, "results": []}), False, "bad_answer", ProtocolError, "without isError"),
        (reply(200, {"isError": False}), False, "bad_answer", ProtocolError, "without results"),
        (
            reply(200, {"isError": False, "results": None}),
            False,
            "bad_answer",
            ProtocolError,
            "without results",
        ),
        (
            reply(200, {"isError": False, "results": "none"}),
            False,
            "bad_answer",
            ProtocolError,
            "neither a list nor an object",
        ),
    ],
)
async def test_an_answer_that_may_pass(
    marketplace: Marketplace,
    client: Client,
    noted: Noted,
    answer: web.Response,
    shrink: bool,
    outcome: str,
    final: type[MarketplaceError],
    says: str,
) -> None:
    """What may pass says whether a smaller page could help, and what it is once attempts are used up."""
    marketplace.says(answer)
    with pytest.raises(TransientError, match=says) as failure:
        await client.read_page({}, 1, 100)
    assert failure.value.shrink is shrink
    assert type(failure.value.final()) is final
    assert str(failure.value.final()) == str(failure.value)
    assert failure.value.remedy
    assert noted.outcomes == [outcome]
    assert noted.calls[0].status_code == answer.status


@pytest.mark.parametrize(
    ("results", "ids"),
    [
        ([], []),
        ({}, []),
        ({"id": 4, "family": {"id": 1}}, [4]),
        ({"0": {"id": 4}, "3": {"id": 5}}, [4, 5]),
        ([{"id": 4}], [4]),
    ],
)
async def test_results_in_the_shapes_of_php(
    marketplace: Marketplace, client: Client, results: Any, ids: list[int]
) -> None:
    """Lists and objects stand for each other."""
    marketplace.says(ok(results))
    assert [item.emag_id for item in (await client.read_page({}, 1, 100)).items] == ids


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"isError": false, "results": [{"id": 1}]}',
        b'{"isError": false, "results": [{"id": 1, "name": "caf\xe9"}]}',
        b'{"isError": false, "results": [{"id": 1, "weight": NaN, "name": "a\nb"}]}',
        b'{"isError": false, "messages": [1e999, "\\ud800"], "results": [{"id": 1}]}',
        b'{"isError": false, "results": [{"id": 1, "x": ' + b"[" * 5000 + b"]" * 5000 + b"}]}",
    ],
)
async def test_an_answer_that_a_strict_decoder_refuses_is_read(
    marketplace: Marketplace, client: Client, body: bytes
) -> None:
    """A byte order mark, Latin-1, NaN, bare line ends, lone surrogates, deep nesting: none costs the page."""
    marketplace.says(reply(200, body))
    assert [item.emag_id for item in (await client.read_page({}, 1, 100)).items] == [1]


async def test_messages_are_few_and_short(marketplace: Marketplace, client: Client, noted: Noted) -> None:
    """A flood of messages is kept as its first twenty, each cut, none twice."""
    flood = [{"message": f"{number % 40} " + "m" * 1000} for number in range(200)]
    marketplace.says(reply(400, {"messages": flood}))
    with pytest.raises(RejectedError) as failure:
        await client.count({})
    assert len(noted.calls[0].messages) == 20
    assert {len(message) for message in noted.calls[0].messages} == {500}
    assert len(str(failure.value)) < 1200


@pytest.mark.parametrize("key", ["messages", "errors"])
async def test_a_flood_of_words_is_not_taken_apart(
    marketplace: Marketplace, client: Client, noted: Noted, key: str
) -> None:
    """Words beyond all measure are kept as one message, their beginning: as objects they would fill the memory."""
    body = b'{"isError": true, "%b": [%b{}]}' % (key.encode(), b'{"message": "no"},' * 20_000)
    marketplace.says(reply(400, body))
    with pytest.raises(RejectedError, match="message"):
        await client.count({})
    [message] = noted.calls[0].messages
    assert message.startswith('[{"message": "no"},')
    assert len(message) == 500


async def test_words_are_one_line(marketplace: Marketplace, client: Client, noted: Noted) -> None:
    """Line ends and what steers a terminal become spaces: the words stand in logs and on terminals."""
    marketplace.says(reply(422, {"messages": ["a\nb\x1b[31mc\u202e"]}))
    with pytest.raises(RejectedError, match="a b \\[31mc"):
        await client.count({})
    assert noted.calls[0].messages == ("a b [31mc ",)


async def test_a_large_answer_does_not_hold_up_the_loop(
    marketplace: Marketplace, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes long to make sense of is made sense of on a thread, and only that."""
    threads: list[bool] = []

    def read(*args: Any) -> Any:
        threads.append(threading.current_thread() is threading.main_thread())
        return read_answer(*args)

    monkeypatch.setattr("emag_syncd.marketplace.client.read_answer", read)
    for size in (2**20, 10):
        marketplace.says(reply(200, b'{"isError": false, "results": [{"id": 1, "x": "%b"}]}' % (b"\0" * size)))
        assert [item.emag_id for item in (await client.read_page({}, 1, 100)).items] == [1]
    assert threads == [False, True]


async def test_a_cut_answer_is_not_repaired(
    marketplace: Marketplace, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told by its end: going through all of it would take long, and is no use."""
    monkeypatch.setattr("emag_syncd.marketplace.envelope.repair", lambda *_args, **_kwargs: pytest.fail("repaired"))
    marketplace.says(reply(200, '{"isError": false, "results": [{"id": 1}, {"id": 2, "name": "half'))
    with pytest.raises(TransientError, match="cut short"):
        await client.read_page({}, 1, 100)
