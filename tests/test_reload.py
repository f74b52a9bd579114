"""Another config while calls wait and run: what changes, what keeps its place, and what a bad one leaves alone."""

import asyncio
import gc
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.config import ConfigError
from gateway.config.problems import Problem
from gateway.emulator import CredentialSettings
from gateway.models import Statistics
from tests.issuer import Issuer
from tests.stand import ACCESS_KEY_ID, SECRET_ACCESS_KEY, MakeStand, Reply, Stand, StandSettings
from tests.waiting import until

QUICK: dict[str, Any] = {"model": {"seconds": 0}}
SLOW: dict[str, Any] = {"instances": 4, "model": {"seconds": 0.4}}
AUTO: dict[str, Any] = {"instances": "auto"}
BAD = ConfigError("gateway.yaml", (Problem(7, 5, "endpoints.slow.instances", "'two'", "a number"),))


def now(stand: Stand, name: str = "slow") -> Statistics:
    """The limiter of an endpoint."""
    return stand.gateway.limiters[name].statistics()


async def endpoints_of(stand: Stand) -> set[str]:
    """Which endpoints have series."""
    labels = [dict(pairs).get("endpoint") for _, pairs in await stand.metrics()]
    return {name for name in labels if name is not None and name != "_unknown"}


async def shown(stand: Stand) -> Mapping[str, Any]:
    """The endpoints in `/status`."""
    reply = await stand.request("GET", "/status", b"")
    return dict(reply.json["endpoints"])


def with_endpoints(settings: StandSettings, **endpoints: Mapping[str, Any]) -> StandSettings:
    """The same stand with other settings of some endpoints."""
    return replace(settings, endpoints={**settings.endpoints, **endpoints})


def only(settings: StandSettings, *names: str) -> StandSettings:
    """The same stand with only these endpoints in the config."""
    endpoints = {name: settings.endpoints[name] for name in names if name in settings.endpoints}
    return replace(settings, fleets={name: settings.fleets[name] for name in names}, endpoints=endpoints)


def start(stand: Stand, name: str, count: int) -> list["asyncio.Task[Reply]"]:
    """So many callers."""
    return [asyncio.create_task(stand.invoke(name)) for _ in range(count)]


async def test_a_bad_config_changes_nothing(make_stand: MakeStand) -> None:
    """Row 34: the old one serves, permits are kept, and the log names file, line and key."""
    stand = await make_stand(StandSettings({"slow": SLOW}))
    callers = start(stand, "slow", 5)
    await until(lambda: now(stand).waiting == 1)
    before = now(stand)
    stand.next.append(BAD)

    outcome = await stand.gateway.reload()

    assert outcome.problems == ("gateway.yaml:7:5 endpoints.slow.instances: found 'two', wanted a number",)
    assert (now(stand).running, now(stand).waiting, now(stand).capacity) == (before.running, 1, 4)
    assert {(await caller).status for caller in callers} == {200}
    (line,) = stand.log("reload_failed")
    assert (line["level"], line["file"], line["problems"]) == ("error", "gateway.yaml", list(outcome.problems))


async def test_capacity_4_1_2_with_4_running(make_stand: MakeStand) -> None:
    """Row 35: none is killed, nobody is admitted until there is room, and a raise admits at once."""
    settings = StandSettings({"slow": {"instances": 4, "model": {"seconds": 0.8}}})
    stand = await make_stand(settings)
    callers = start(stand, "slow", 6)
    await until(lambda: (now(stand).running, now(stand).waiting) == (4, 2))
    limiter = stand.gateway.limiters["slow"]

    await stand.reload(with_endpoints(settings, slow={"instances": 1}))
    assert (now(stand).capacity, now(stand).running, now(stand).waiting) == (1, 4, 2)
    await until(lambda: now(stand).running == 1 and now(stand).waiting == 1)
    await stand.reload(with_endpoints(settings, slow={"instances": 2}))
    assert (now(stand).capacity, now(stand).running, now(stand).waiting) == (2, 2, 0)

    assert {(await caller).status for caller in callers} == {200}
    assert (stand.counters("slow").calls, stand.counters("slow").peak_work) == (6, 4)
    assert stand.gateway.limiters["slow"] is limiter


async def test_waiting_callers_keep_their_order(make_stand: MakeStand) -> None:
    """Another endpoint changes, and so do the targets of their route: they are served where they wait, in order."""
    fleets = {"slow": {"instances": 1, "model": {"seconds": 0.05}}, "other": QUICK}
    route = {"routes": {"r": {"targets": [{"endpoint": "slow"}]}}}
    settings = StandSettings(fleets, config=route)
    stand = await make_stand(settings)
    served: list[int] = []

    async def call(number: int) -> int:
        seconds = "0.02" if number else "2"  # the others wait for the first
        reply = await stand.invoke("r", X_Amzn_SageMaker_Custom_Attributes=f"seconds={seconds}")
        served.append(number)
        assert reply.headers["X-Gateway-Endpoint"] == "slow"
        return reply.status

    callers = []
    for number in range(6):
        callers.append(asyncio.create_task(call(number)))
        await until(lambda count=number: now(stand).running + now(stand).waiting == count + 1)  # type: ignore[misc]
    moved = {"routes": {"r": {"targets": [{"endpoint": "other"}]}}}
    outcome = await stand.reload(with_endpoints(replace(settings, config=moved), other={"instances": 3}))
    late = await stand.invoke("r")

    assert outcome.changes == {"endpoints_changed": ["other"], "routes_changed": ["r"]}
    assert late.headers["X-Gateway-Endpoint"] == "other"
    assert await asyncio.gather(*callers) == [200] * 6
    assert served == list(range(6))


async def test_an_added_endpoint_is_there_at_once(make_stand: MakeStand) -> None:
    """It can be called, and all of its series exist before its first call."""
    settings = StandSettings({"slow": SLOW, "new": {**QUICK, "instances": 3}})
    stand = await make_stand(settings)
    await stand.reload(only(settings, "slow"))
    assert (await stand.invoke("new")).status == 404
    await until(lambda: "new" not in stand.gateway.limiters)

    outcome = await stand.reload(settings)

    metrics = await stand.metrics()
    reply = await stand.invoke("new")
    assert (outcome.changes, reply.status) == ({"endpoints_added": ["new"]}, 200)
    assert metrics["sagemaker_gateway_capacity", (("endpoint", "new"),)] == 3
    assert metrics["sagemaker_gateway_joins_total", (("endpoint", "new"),)] == 0


async def test_a_removed_endpoint_drains(make_stand: MakeStand) -> None:
    """New calls find nothing; who runs and who waits is answered, is seen meanwhile, and leaves no series behind."""
    settings = StandSettings({"slow": {"instances": 1, "model": {"seconds": 1}}, "other": QUICK})
    stand = await make_stand(settings)
    callers = start(stand, "slow", 2)
    await until(lambda: now(stand).waiting == 1)

    outcome = await stand.reload(only(settings, "other"))

    late = await stand.invoke("slow")
    status = await shown(stand)
    assert (outcome.changes, late.status) == ({"endpoints_removed": ["slow"]}, 404)
    assert (status["slow"]["removed"], status["slow"]["running"], status["slow"]["waiting"]) == (True, 1, 1)
    assert await endpoints_of(stand) == {"slow", "other"}
    assert {(await caller).status for caller in callers} == {200}
    await until(lambda: bool(stand.log("endpoint_drained")))
    assert await endpoints_of(stand) == set(await shown(stand)) == {"other"}


async def test_the_last_call_of_a_removed_endpoint_is_logged_before_its_end(make_stand: MakeStand) -> None:
    """The log tells things in their order."""
    settings = StandSettings({"slow": QUICK, "other": QUICK})
    stand = await make_stand(settings)
    await stand.invoke("slow")
    await stand.reload(only(settings, "other"))
    events = stand.events()

    assert events.index("request_finished") < events.index("endpoint_drained")


async def test_an_idle_endpoint_disappears_at_once(make_stand: MakeStand) -> None:
    """And whoever was on the way to it is served, though nobody counts it any more."""
    settings = StandSettings({"slow": QUICK, "other": QUICK})
    stand = await make_stand(settings)
    host, port = stand.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /endpoints/slow/invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{")
    await until(lambda: len(stand.gateway.roster.readers) == 1)

    await stand.reload(only(settings, "other"))
    assert await endpoints_of(stand) == {"other"}
    writer.write(b"}")
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()

    assert head.startswith(b"HTTP/1.1 200 ")
    assert await endpoints_of(stand) == {"other"}
    assert stand.log("request_finished")[-1]["endpoint"] == "slow"


async def test_an_endpoint_that_comes_back_is_the_same(make_stand: MakeStand) -> None:
    """Else its fleet would get the calls of two: those of before, and as many again."""
    settings = StandSettings({"slow": {**SLOW, "instances": 1}, "other": QUICK})
    stand = await make_stand(settings)
    before = start(stand, "slow", 2)
    await until(lambda: now(stand).waiting == 1)

    await stand.reload(only(settings, "other"))
    await stand.reload(settings)
    after = start(stand, "slow", 1)

    assert {(await caller).status for caller in (*before, *after)} == {200}
    assert stand.counters("slow").peak_work == 1
    assert "removed" not in (await shown(stand))["slow"]


async def test_instances_auto_and_back(make_stand: MakeStand) -> None:
    """Permits follow the fleet from the reload on, and no longer after the next."""
    settings = StandSettings({"slow": {**QUICK, "instances": 3}}, {"slow": {"instances": 2}})
    stand = await make_stand(settings)

    await stand.reload(with_endpoints(settings, slow=AUTO))
    assert now(stand).capacity == 3
    await stand.emulator.scale("slow", 5)
    await until(lambda: now(stand).capacity == 5)
    assert (await shown(stand))["slow"]["fleet"]["capacity"] == 5

    await stand.reload(settings)
    assert now(stand).capacity == 2
    assert "fleet" not in (await shown(stand))["slow"]
    assert [task for task in asyncio.all_tasks() if task.get_name() == "follow the fleet of slow"] == []


async def test_an_endpoint_moves(make_stand: MakeStand) -> None:
    """Calls go to its new host, and what is known of the old one does not keep them from it."""
    other = {"targets": [{"endpoint": "slow"}, {"endpoint": "other"}]}
    settings = StandSettings({"slow": QUICK, "other": QUICK}, config={"routes": {"r": other}})
    nowhere = with_endpoints(settings, slow={"endpoint_url": "http://127.0.0.1:9"})
    stand = await make_stand(settings)
    limiter = stand.gateway.limiters["slow"]

    await stand.reload(nowhere)
    refused = [(await stand.invoke("slow")).status for _ in range(5)]
    ejected = (await shown(stand))["slow"]["health"]["ejected"]
    await stand.reload(settings)
    served = await stand.invoke("slow")

    assert (refused, ejected, served.status) == ([503] * 5, True, 200)
    assert (await shown(stand))["slow"]["health"]["unreachable_in_a_row"] == 0
    assert stand.gateway.limiters["slow"] is limiter


async def test_another_identity_signs(make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its credentials are there before the first call that needs them, and those of nobody are dropped."""
    shared = tmp_path / "credentials"
    shared.write_text(f"[models]\naws_access_key_id = {ACCESS_KEY_ID}\naws_secret_access_key = {SECRET_ACCESS_KEY}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(shared))
    settings = StandSettings({"slow": QUICK})
    stand = await make_stand(settings)

    await stand.reload(with_endpoints(settings, slow={"profile": "models"}))

    assert (await stand.invoke("slow")).status == 200
    names = {task.get_name() for task in asyncio.all_tasks() if "keep credentials" in task.get_name()}
    assert names == {"keep credentials of profile models fresh"}


async def test_a_removed_endpoint_gets_other_keys(
    make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody refreshes its keys ahead any more, but a call of it that is refused has them replaced as ever."""
    issuer = Issuer(tmp_path, monkeypatch, "KEY{number}")
    settings = StandSettings(
        {"slow": {"instances": 1, "model": {"seconds": 0.5}}, "other": QUICK}, {"slow": {"profile": "issued"}}
    )
    stand = await make_stand(settings)
    for key in ("KEY1", "KEY2"):
        pair = {"access_key_id": key, "secret_access_key": "secret", "session_token": "token"}
        stand.emulator.accept(CredentialSettings.model_validate(pair))
    callers = start(stand, "slow", 2)
    await until(lambda: now(stand).waiting == 1)

    await stand.reload(only(settings, "other"))
    await until(lambda: stand.counters("slow").work == 1)
    stand.emulator.expire("KEY1")

    assert {(await caller).status for caller in callers} == {200}
    assert issuer.asked == 2
    assert not [task for task in asyncio.all_tasks() if "issued" in task.get_name()]


async def test_what_is_unchanged_goes_on(make_stand: MakeStand) -> None:
    """Followers and credentials of endpoints that stay are not opened again."""
    settings = StandSettings({"slow": QUICK, "other": QUICK}, {"slow": AUTO})
    stand = await make_stand(settings)
    names = ("follow the fleet of slow", "keep credentials of default fresh")
    before = {task for task in asyncio.all_tasks() if task.get_name() in names}

    await stand.reload(with_endpoints(settings, other={"instances": 7}))

    assert len(before) == 2
    assert {task for task in asyncio.all_tasks() if task.get_name() in names} == before


async def test_a_config_that_cannot_be_opened_is_refused(make_stand: MakeStand) -> None:
    """A fleet that cannot be followed: the old config serves, whole, and nothing of the new one stays open."""
    settings = StandSettings({"slow": {**QUICK, "instances": 3}}, {"slow": {"instances": 2}})
    stand = await make_stand(settings)

    outcome = await stand.reload(with_endpoints(settings, slow=AUTO, nobody=AUTO))

    assert [problem.split(":")[0] for problem in outcome.problems] == ["endpoints.nobody.instances"]
    assert (now(stand).capacity, set(stand.gateway.limiters)) == (2, {"slow"})
    assert (await stand.invoke("slow")).status == 200
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("follow")] == []
    assert stand.log("reload_failed")[0]["problems"] == list(outcome.problems)


async def test_two_reloads_at_once(make_stand: MakeStand) -> None:
    """One after the other; the second finds nothing to do."""
    settings = StandSettings({"slow": QUICK, "other": QUICK}, {"slow": AUTO})
    stand = await make_stand(settings)
    await stand.reload(only(settings, "slow"))
    stand.next.append(settings.gateway(stand.emulator.url))

    first, second = await asyncio.gather(stand.gateway.reload(), stand.gateway.reload())

    assert first.changes["endpoints_added"] == ["other"]
    assert (second.problems, second.changes) == ((), {})


async def test_twenty_reloads_leave_nothing_behind(make_stand: MakeStand) -> None:
    """Neither tasks nor file descriptors, however often endpoints and their followers come and go."""
    settings = StandSettings({"slow": QUICK, "other": QUICK}, {"slow": AUTO, "other": AUTO})
    stand = await make_stand(settings)
    await stand.reload(only(settings, "slow"))

    def open_things() -> tuple[int, int]:
        gc.collect()
        return len(asyncio.all_tasks()), len(list(Path("/proc/self/fd").iterdir()))

    before = open_things()
    for _ in range(10):
        await stand.reload(settings)
        await stand.reload(only(settings, "slow"))
    await until(lambda: open_things()[0] <= before[0] and open_things()[1] <= before[1])


async def test_settings_that_need_a_restart_are_named(make_stand: MakeStand) -> None:
    """They keep their value, and are named each time until there is a restart; others change at once."""
    settings = StandSettings({"slow": QUICK})
    stand = await make_stand(settings)
    listen = {"port": 0, "keepalive_seconds": 7, "max_buffered_bytes": 1}
    other = replace(settings, config={"listen": listen, "log": {"level": "error"}, "drain": {"timeout_seconds": 3}})

    for _ in range(2):
        outcome = await stand.reload(other)
        assert outcome.changes["needs_restart"] == [
            "listen.max_buffered_bytes",
            "listen.keepalive_seconds",
            "log.level",
        ]
    assert (stand.gateway.config.listen.keepalive_seconds, stand.gateway.config.log.level) == (75, "info")
    assert stand.gateway.config.drain.timeout_seconds == 3


async def test_a_gateway_that_strangers_reach_keeps_its_keys(make_stand: MakeStand, tmp_path: Path) -> None:
    """A config without keys is good on loopback; but the address only changes with a restart, and is an open one."""
    keys = tmp_path / "keys.yaml"
    keys.touch(mode=0o600)
    keys.write_text("keys: []")
    fleets = {"slow": QUICK}
    listen = {"port": 0, "host": "0.0.0.0", "keys_file": str(keys)}
    stand = await make_stand(StandSettings(fleets, config={"listen": listen}))
    stand.next.append(StandSettings(fleets).gateway(stand.emulator.url))

    outcome = await stand.gateway.reload()

    assert outcome.problems[0].startswith("listen.host: found '0.0.0.0', wanted an address of this machine only")
    assert stand.gateway.config.listen.keys_file == str(keys)


async def test_keys_and_config_change_together_or_not_at_all(make_stand: MakeStand, tmp_path: Path) -> None:
    """A keys file that cannot be used keeps the old config, too."""
    settings = StandSettings({"slow": QUICK})
    stand = await make_stand(settings)
    missing = str(tmp_path / "none.yaml")

    outcome = await stand.reload(
        with_endpoints(replace(settings, config={"listen": {"port": 0, "keys_file": missing}}), slow={"instances": 5})
    )

    assert missing in outcome.problems[0]
    assert (now(stand).capacity, (await stand.invoke("slow")).status) == (1, 200)


async def test_operators_reload(make_stand: MakeStand) -> None:
    """`POST /-/reload` needs no body; it tells the difference, or every mistake."""
    settings = StandSettings({"slow": QUICK})
    stand = await make_stand(settings)
    stand.next.append(with_endpoints(settings, slow={"instances": 2}).gateway(stand.emulator.url))

    good = await stand.request("POST", "/-/reload", b"")
    stand.next.append(BAD)
    bad = await stand.request("POST", "/-/reload", b"")
    wrong = await stand.request("GET", "/-/reload", b"")

    assert (good.status, good.json, now(stand).capacity) == (200, {"endpoints_changed": ["slow"]}, 2)
    assert (bad.status, bad.json) == (400, {"problems": str(BAD).splitlines()})
    assert (wrong.status, wrong.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(("admin", "status"), [({}, 403), ({"host": "127.0.0.1", "port": 0}, 200)])
async def test_callers_do_not_reload(make_stand: MakeStand, admin: Mapping[str, Any], status: int) -> None:
    """Where they reach the ops paths, SIGHUP is left; where they do not, the path leads nowhere for them."""
    listen = {"port": 0, "host": "0.0.0.0", "open": True}
    stand = await make_stand(StandSettings({"slow": QUICK}, config={"listen": listen, "admin": admin}))
    operators = stand.gateway.admin_url.replace("0.0.0.0", "127.0.0.1")

    async with stand.session.post(f"{operators}/-/reload") as reply:
        assert reply.status == status
    if admin:
        callers = stand.url.replace("0.0.0.0", "127.0.0.1")
        async with stand.session.post(f"{callers}/-/reload") as reply:
            assert reply.status == 404
    else:
        assert stand.log("config_reloaded") == []


async def test_a_bug_of_ours_leaves_the_old_config(make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator is told to look at the log; the next reload is taken."""
    settings = StandSettings({"slow": QUICK})
    stand = await make_stand(settings)
    with monkeypatch.context() as patch:
        patch.setattr("gateway.assembly._hosts", None)
        outcome = await stand.reload(with_endpoints(settings, slow={"instances": 9}))
    again = await stand.gateway.reload()

    assert outcome.problems == ("the gateway failed on this config; its log says why",)
    assert "TypeError" in stand.log("reload_failed")[0]["exception"][0]["exc_type"]
    assert (again.problems, now(stand).capacity) == ((), 9)
