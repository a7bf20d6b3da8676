"""The server against raters who err and senders who mean harm."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from bench.study import server
from bench.study.serving import running
from bench.study.sessions import Sessions
from bench.study.store import SIMULATED, Answer, NotStoredError, VoteStore, open_votes
from bench.study.votes import read_votes
from tests.unit.bench.study.conftest import OWN


@pytest.mark.slow
def test_a_rater_answers_everything_in_the_order_of_the_plan(
    rater: Callable[..., Any], sessions: Sessions, votes: VoteStore
) -> None:
    one = rater()
    total = one.state()["total"]
    assert total == len(sessions.study.plan["r0001"]) == 8 + 2 * 4 + 1
    for done in range(total):
        state = one.state()
        assert (state["done"], state["code"]) == (done, None)
        reply = one.vote(["left", "right", "tie"][done % 3])
        assert reply.status_code == 200
        assert reply.json()["stored"] is True
    state = one.state()
    assert state["item"] is None
    assert state["code"] == sessions.keys.completion("r0001")
    read = read_votes(sessions.study.folder)
    assert [vote.order for vote in read] == list(range(total))
    for vote, shown in zip(read, sessions.study.plan["r0001"], strict=True):
        left_won = {0: True, 1: False, 2: None}[vote.order % 3]
        assert vote.outcome == (0.5 if left_won is None else float(left_won == shown.a_left))
        assert vote.left == (vote.method_a if shown.a_left else vote.method_b)
        assert vote.seconds == 1.5


def test_a_replayed_vote_is_counted_once_and_the_first_stands(rater: Callable[..., Any], votes: VoteStore) -> None:
    one = rater()
    item = one.state()["item"]["id"]
    assert one.vote("left", item).json()["stored"] is True
    for choice in ("left", "right", "tie"):
        reply = one.vote(choice, item)
        assert reply.status_code == 200
        assert reply.json()["stored"] is False
        assert reply.json()["state"]["done"] == 1
    assert [answer.choice for answer in votes.answers()] == ["left"]


def test_items_and_pictures_of_another_rater_are_refused(rater: Callable[..., Any], votes: VoteStore) -> None:
    one, other = rater("r0001"), rater("r0002")
    item = other.state()["item"]
    assert one.vote("left", item["id"]).status_code == 404
    assert one.get(f"/picture/{item['left']}").status_code == 404
    assert other.get(f"/picture/{item['left']}").status_code == 200
    assert list(votes.answers()) == []


def test_an_item_whose_turn_has_not_come_is_refused(rater: Callable[..., Any], sessions: Sessions) -> None:
    later = sessions.study.plan["r0001"][3].item
    assert rater().vote("left", sessions.keys.item("r0001", later)).status_code == 409


def test_nothing_is_stored_before_consent(rater: Callable[..., Any], sessions: Sessions, votes: VoteStore) -> None:
    one = rater(consent=False)
    assert one.state()["item"] is None
    first = sessions.keys.item("r0001", sessions.study.plan["r0001"][0].item)
    assert one.vote("left", first).status_code == 409
    assert list(votes.answers()) == []


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"x-study-token": ""}, 403),
        ({"x-study-token": "é"}, 403),
        ({"origin": "http://elsewhere"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "text/plain"}, 415),
    ],
)
def test_a_request_of_another_page_is_refused(
    rater: Callable[..., Any], votes: VoteStore, change: dict[str, str], status: int
) -> None:
    one = rater()
    item = one.state()["item"]["id"]
    headers = {name: value.encode("utf-8") for name, value in {**one.headers, **change}.items()}
    reply = one.client.post(
        f"{one.base}/vote", content=json.dumps({"item": item, "choice": "left"}).encode(), headers=headers
    )
    assert reply.status_code == status
    assert "error" in reply.json()
    assert list(votes.answers()) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[" * 4000, 400),
        (b'{"item": 1, "choice": "left"}', 400),
        (b'{"item": "x", "choice": "both"}', 400),
        (b'{"item": "x", "choice": ["left"]}', 400),
        (b'{"item": "x", "choice": "left"}', 404),
        (b'{"item": "x\\u0000\' OR 1=1 --", "choice": "left"}', 404),
        (b'{"pad": "' + b"x" * 5000 + b'"}', 413),
    ],
)
def test_what_is_no_answer_is_refused(rater: Callable[..., Any], votes: VoteStore, body: bytes, status: int) -> None:
    one = rater()
    reply = one.client.post(f"{one.base}/vote", content=body, headers=one.headers)
    assert reply.status_code == status
    assert "error" in reply.json()
    assert list(votes.answers()) == []


@pytest.mark.parametrize("seconds", [None, "x", True, -3, 1e300, [], "1e999"])
def test_a_time_that_is_none_is_stored_as_none_or_cut(
    rater: Callable[..., Any], votes: VoteStore, seconds: Any
) -> None:
    one = rater()
    body = {"item": one.state()["item"]["id"], "choice": "tie", "seconds": seconds}
    assert one.post("/vote", body).json()["stored"] is True
    (answer,) = votes.answers()
    assert answer.seconds is None or 0 <= answer.seconds <= 86400


def test_infinity_in_json_is_no_time(rater: Callable[..., Any], votes: VoteStore) -> None:
    one = rater()
    item = one.state()["item"]["id"]
    body = f'{{"item": "{item}", "choice": "tie", "seconds": Infinity}}'.encode()
    assert one.client.post(f"{one.base}/vote", content=body, headers=one.headers).status_code == 200
    assert [answer.seconds for answer in votes.answers()] == [None]


def test_guessed_links_are_refused_and_then_slowed_down(client: Any, sessions: Sessions) -> None:
    token = sessions.keys.token("r0001")
    assert len(token) >= 128 / 6
    wrong = [token[:-1] + ("A" if token[-1] != "A" else "B"), token[:-1], token + "A", "", "%00", "é" * 30, "../r0001"]
    assert {client.get(f"/r/{one}/state").status_code for one in wrong} == {404}
    # 30 at once, then one in 2 s: a slow machine guesses longer until it has guessed too often
    assert any(client.get(f"/r/{number:032d}").status_code == 429 for number in range(2000))
    assert client.get(f"/r/{token}/state").status_code == 200, "who has a link is not kept out by who guesses"
    assert client.get(f"/admin/{token}").status_code in (404, 429)
    assert client.get(f"/r/{sessions.keys.admin()}").status_code in (404, 429)


@pytest.mark.slow
def test_a_link_that_asks_too_often_is_told_to_wait(rater: Callable[..., Any]) -> None:
    one = rater()
    for _ in range(5000):  # 120 at once, then 20 a second: a slow machine asks longer until it has asked too often
        reply = one.get("/state")
        if reply.status_code != 200:
            break
    assert reply.status_code == 429
    assert int(reply.headers["retry-after"]) >= 1
    assert rater("r0002").get("/state").status_code == 200


def test_every_response_has_the_security_headers(client: Any, rater: Callable[..., Any], sessions: Sessions) -> None:
    one = rater()
    replies = [
        one.get(),
        one.get("/state"),
        one.get(f"/picture/{one.state()['item']['left']}"),
        client.get("/study.js"),
        client.get("/study.css"),
        client.get("/nothing"),
        client.post("/r/x"),
        client.get(f"/admin/{sessions.keys.admin()}"),
        client.get("/favicon.ico"),
    ]
    for reply in replies:
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert {"server", "date", "last-modified", "etag", "set-cookie"}.isdisjoint(reply.headers)
    assert replies[1].headers["cache-control"] == "no-store"


def test_texts_of_the_study_are_escaped(rater: Callable[..., Any], sessions: Sessions) -> None:
    attack = "<script>alert(1)</script>\n</p><img src=x onerror=alert(2)>"
    sessions.study.manifest["consent"] = sessions.study.manifest["instructions"] = attack
    text = rater().get().text
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "&lt;script&gt;" in text


def test_the_progress_page_shows_no_choice_and_no_method(
    client: Any, rater: Callable[..., Any], sessions: Sessions
) -> None:
    rater().vote("left")
    text = client.get(f"/admin/{sessions.keys.admin()}").text
    assert "1 of 17" in text
    assert sessions.keys.token("r0002") in text
    for word in ("refl", "combined", "base@"):
        assert word not in text


def test_behind_a_server_that_replaces_the_host_the_address_that_was_given_counts(sessions: Sessions) -> None:
    from starlette.testclient import TestClient

    outside = TestClient(server.Application(sessions, url="https://study.example.org").build())
    page = outside.get(f"/admin/{sessions.keys.admin()}").text
    assert f"https://study.example.org/r/{sessions.keys.token('r0002')}" in page
    assert "testserver" not in page
    base, headers = f"/r/{sessions.keys.token('r0001')}", {"x-study-token": sessions.keys.csrf("r0001")}
    for origin, status in (
        ("https://study.example.org", 200),
        ("http://testserver", 200),
        ("https://study.example.org.evil", 403),
    ):
        assert outside.post(f"{base}/consent", json={}, headers={**headers, "origin": origin}).status_code == status


def test_a_link_with_a_slash_at_its_end_is_the_page_and_no_redirect(client: Any, sessions: Sessions) -> None:
    token = sessions.keys.token("r0001")
    reply = client.get(f"/r/{token}/", follow_redirects=False)
    assert reply.status_code == 200
    assert reply.text == client.get(f"/r/{token}").text
    for path in (f"/r/{token}/state/", f"/admin/{sessions.keys.admin()}/", "//", f"//r/{token}"):
        assert client.get(f"http://testserver{path}", follow_redirects=False).status_code == 404


def test_a_header_without_an_end_is_refused(sessions: Sessions) -> None:
    with running(sessions) as origin, socket.create_connection(("127.0.0.1", int(origin.rpartition(":")[2]))) as one:
        one.settimeout(30)
        one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
        with suppress(OSError):  # it may close the connection before all has been sent
            for _ in range(20):
                one.sendall(b"a" * 5000)
                time.sleep(0.01)
        with suppress(ConnectionError):
            assert b" 400 " in one.recv(100)[:20]


def test_a_body_that_does_not_come_is_given_up(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BODY_SECONDS", 0.05)
    headers = {**OWN, "host": "testserver", "x-study-token": sessions.keys.csrf("r0001")}
    scope = {
        "type": "http", "method": "POST", "path": f"/r/{sessions.keys.token('r0001')}/vote", "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()], "root_path": "",
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> Any:
        if not sent:
            await asyncio.sleep(0.03)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(asyncio.wait_for(server.Application(sessions).build()(scope, receive, send), 20))
    assert sent[0]["status"] == 408
    assert b"try again" in sent[1]["body"]


def test_votes_keep_their_order_when_the_clock_is_put_back(
    rater: Callable[..., Any], votes: VoteStore, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = rater("r0002"), rater("r0001")
    first.vote("left")
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: 1e9)
        second.vote("tie")
        again = open_votes(sessions.study)  # another process, with the same clock
        again.consent("r0003")
        assert again.add(Answer("r0003", sessions.study.plan["r0003"][0].item, "right", True, 0, 1.0))
        again.close()
    assert [answer.rater for answer in votes.answers()] == ["r0002", "r0001", "r0003"]


def test_a_full_disk_is_told_and_loses_nothing(rater: Callable[..., Any], votes: VoteStore) -> None:
    one = rater()
    one.vote()
    item = one.state()["item"]["id"]
    room, connect = [0], votes._connect

    def limited() -> Any:
        connection = connect()
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages + room[0]}")
        return connection

    votes.close()
    votes._connect = limited
    for size in (900, 100, 1):
        fill(votes, size)
    reply = one.vote("right", item)
    assert reply.status_code == 507
    assert "Nothing that you answered before is lost" in reply.json()["error"]
    assert int(reply.headers["retry-after"]) > 0
    room[0] = 1000
    votes.close()
    assert one.vote("right", item).json()["stored"] is True
    assert [answer.choice for answer in votes.answers()] == ["left", "right"]


def fill(votes: VoteStore, size: int) -> None:
    """Rows of another study, until the database has no room for one of this size."""
    row = "INSERT INTO bench_study_votes VALUES ('other', ?, ?, 'left', 1, 0, 1.0, 0.0, '', NULL)"

    def insert() -> None:
        for number in range(10_000):
            votes._run(row, "x" * size, f"{size}-{number}")

    with pytest.raises(NotStoredError, match="the disk that holds the votes is full"):
        insert()


def test_a_fault_of_ours_is_told_without_a_traceback(
    rater: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret details")

    one = rater()
    monkeypatch.setattr(Sessions, "state", broken)
    reply = one.get("/state")
    assert reply.status_code == 500
    assert "secret" not in reply.text
    assert reply.headers["content-security-policy"] == server.HEADERS["Content-Security-Policy"]


def test_forgotten_raters_cannot_go_on(rater: Callable[..., Any], votes: VoteStore) -> None:
    one = rater()
    one.vote()
    one.vote()
    item = one.state()["item"]["id"]
    assert votes.forget("r0001") == 2
    assert one.vote("left", item).status_code == 410
    assert one.post("/consent").status_code == 410
    assert list(votes.answers()) == []
    assert SIMULATED not in votes.sources()
