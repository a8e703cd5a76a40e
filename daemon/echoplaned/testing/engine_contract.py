"""The contract suite: what every leader must do, whatever engine it leads.

``run_suite`` plays cases of one subject on one stage, in their order, and yields an outcome a case: ``GOOD_LIFE``, ``DEATHS``,
``FAILURES``, or all as ``CASES``. A case that needs what the subject says it lacks is skipped by that name, never silently.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

from echoplaned.core.endpoints import oip_target
from echoplaned.core.engine_events import (
    EngineDrained,
    EngineGaveUp,
    EngineLost,
    EngineReady,
    EngineStuck,
    MemoryMeasured,
    ProbesFailed,
    ProbesPassed,
)
from echoplaned.engine_kinds import DEFAULT_KIND
from echoplaned.engines.probing import OipProber
from echoplaned.engines.scoring import OipScorer
from echoplaned.testing.engine_case import Case, CaseNeed, CaseOutcome
from echoplaned.testing.engine_help import kill_and_wait, loads, put_record, report_of, settled_arrivals, until
from echoplaned.testing.engine_stage import KEY, Stage, Subject, check, open_stage, was_killed
from echoplaned.testing.garbage import GarbageServer
from echoplaned.worker_contract.family import find_members, read_mark
from echoplaned.worker_contract.mark import make_mark, read_state_dir_id
from echoplaned.worker_contract.record import read_records, records_dir
from echoplaned.worker_contract.version import CONTRACT_VERSION


async def run_suite(subject: Subject, state_dir: Path, cases: tuple[Case, ...]) -> AsyncGenerator[CaseOutcome, None]:
    """Play the cases for a subject in a state directory of its own."""
    async with open_stage(subject, state_dir) as stage:
        for case in cases:
            if case.needs is not None and case.needs in subject.lacks:
                yield CaseOutcome(case.name, skipped=f"{case.needs}: {subject.lacks[case.needs]}")
                continue
            began_s, failure = time.monotonic(), ""
            try:
                await case.play(stage)
            except AssertionError as error:
                failure = f"FAILED: {error}"
            yield CaseOutcome(case.name, time.monotonic() - began_s, failure)


# --- a good life ---


async def starts(stage: Stage) -> None:
    """It answers an order, and its record says what it leads.

    The same order again is answered by the same process.
    """
    ready = await stage.start()
    record = stage.record()
    check((ready.instance, ready.generation) == (KEY, stage.generation), f"{ready} is another instance")
    check((record.kind, record.contract) == (stage.subject.kind.name, CONTRACT_VERSION), f"the record is of {record}")
    check((record.instance, record.generation) == (str(KEY), stage.generation), f"the record names {record.instance}")
    check(record.mark and read_mark(record.pid) == record.mark, "the record and the environment have different marks")
    protocols = tuple(one.protocol.value for one in record.endpoints)
    check(protocols == stage.subject.kind.protocols, f"it listens for {protocols}")
    check(ready.endpoints == record.endpoints, f"it is said to listen at {ready.endpoints}")
    for endpoint in filter(lambda one: one.is_tcp, ready.endpoints):
        host, _, port = endpoint.target.rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
    stage.engines.start(stage.start_effect())
    again = await stage.wait_for(EngineReady)
    check(again.leader_id == ready.leader_id, "the same order again started another process")


async def passes_probes(stage: Stage) -> None:
    """Golden prompts are answered, and answered alike."""
    await stage.start()
    stage.engines.probe(stage.probe_effect())
    await stage.wait_for(ProbesPassed)


async def measures_memory(stage: Stage) -> None:
    """After its probes it tells what the model takes."""
    await stage.start()
    stage.engines.probe(stage.probe_effect())
    measured = await stage.wait_for(MemoryMeasured)
    check(measured.measured_bytes > 0, "it measured nothing")


async def counts_requests(stage: Stage) -> None:
    """Requests are counted where the flags say so, the daemon's own probes never."""
    ready = await stage.start()
    before = await settled_arrivals(stage)
    prober = OipProber(time.monotonic, stage.engines.control_key_at)
    for index in range(3):
        outcome = await prober.probe_once(KEY.version, stage.subject.facts, oip_target(ready.endpoints), index)
        check(outcome.ok, outcome.detail)
    await prober.close()
    flags = (await report_of(stage, ready)).flags
    check(flags.counts_arrivals, "it counts no arrivals: its gates abstain")
    await until(lambda: sum(one.arrivals for one in stage.counts.values()) == before + 3, "3 requests were not counted")


async def scores(stage: Stage) -> None:
    """A golden text is scored, twice alike."""
    ready = await stage.start()
    scorer = OipScorer(stage.engines.control_key_at)
    first, second = [
        await scorer.score(KEY.version, stage.subject.facts, oip_target(ready.endpoints), 0) for _ in range(2)
    ]
    await scorer.close()
    check(first.ok, first.detail)
    values = [one.vector if one.vector is not None else one.log_probabilities for one in (first, second)]
    check(values[0] is not None and values[1] is not None, "a score holds no numbers")
    check(str(values[0]) == str(values[1]), "the same text was scored differently the second time")


async def traces(stage: Stage) -> None:
    """What requests said is told."""
    ready = await stage.start()
    prober = OipProber(time.monotonic, stage.engines.control_key_at)
    outcome = await prober.probe_once(KEY.version, stage.subject.facts, oip_target(ready.endpoints), 0)
    await prober.close()
    check(outcome.ok, outcome.detail)
    # A probe's trace is counted and not kept.
    await until(
        lambda: KEY.version in stage.traces.counts() and stage.traces.counts()[KEY.version].received, "no trace came"
    )


async def has_histograms(stage: Stage) -> None:
    """Latencies are counted where the flags say so."""
    report = await report_of(stage, await stage.start())
    check(report.flags.has_histograms and report.histograms, "it reports no histogram")
    check(sum(report.histograms[0].counts) > 0, "its histogram is empty")


async def is_adopted(stage: Stage) -> None:
    """The next daemon finds it and owns it, and it serves on.

    What it counted before is not told as new.
    """
    ready = await stage.start()
    pid = stage.record().pid
    await stage.reopen()
    (found,) = await stage.engines.adopt()
    check((found.instance, found.generation) == (KEY, stage.generation), f"{found} was adopted")
    check(await stage.engines.sweep(frozenset({(KEY, stage.generation)})) == 0, "the sweep killed what is owned")
    stage.engines.open()
    stage.engines.start(stage.start_effect())
    check((await stage.wait_for(EngineReady)).leader_id == ready.leader_id, "it was started anew")
    check(stage.record().pid == pid, "another process leads it")
    await passes_probes(stage)


async def is_adopted_from_contract_1(stage: Stage) -> None:
    """A record with no kind, contract or mark is led on by the default kind alone."""
    await stage.start()
    path = stage.record_path()
    whole = path.read_text(encoding="utf-8")
    old = {name: value for name, value in json.loads(whole).items() if name not in _NEW_FIELDS}
    await stage.reopen(change=lambda: put_record(path, json.dumps(old)))
    found = await stage.engines.adopt()
    put_record(path, whole)
    expected = 1 if stage.subject.kind.name == DEFAULT_KIND.name else 0
    check(len(found) == expected, f"{found} were adopted, not {expected}")
    await stage.reopen()
    await stage.engines.adopt()
    stage.engines.open()


async def drains(stage: Stage) -> None:
    """A drain ends when it is quiet, and at once when its deadline has passed.

    One that was given up leaves it serving.
    """
    await stage.start()
    stage.engines.drain(stage.drain_effect(60.0))
    await asyncio.sleep(0.5)
    stage.engines.undrain(KEY, stage.generation)
    stage.engines.drain(stage.drain_effect(-1.0))
    await stage.wait_for(EngineDrained, 10.0)
    stage.engines.drain(stage.drain_effect(60.0))
    check((await stage.wait_for(EngineDrained, 30.0)).cut_count == 0, "calls were cut, and there were none")


async def stops(stage: Stage) -> None:
    """It ends when it is told to, with all of its processes and its record."""
    await stage.start()
    family = stage.family()
    await stage.stop()
    await stage.expect_nothing_left(family)


# --- bad luck ---


async def a_killed_child_ends_it(stage: Stage) -> None:
    """An engine that dies beneath its leader is a lost instance.

    None of its processes is left when that is told.
    """
    await stage.start()
    family = stage.family()
    children = [
        one for one in find_members(family) if one.pid != family.leader_pid and one.session == family.leader_pid
    ]
    check(children, "it has no child in its session")
    os.kill(children[0].pid, signal.SIGKILL)
    await stage.wait_for(EngineLost, 15.0)
    stage.has_ended()
    await stage.expect_nothing_left(family)


async def a_killed_leader_ends_it(stage: Stage) -> None:
    """With its leader gone the instance is lost, told when all its processes ended."""
    await stage.start()
    family = stage.family()
    os.kill(family.leader_pid, signal.SIGKILL)
    lost = await stage.wait_for(EngineLost, 15.0)
    stage.has_ended()
    check("SIGKILL" in lost.detail, f"the reason is not told: {lost.detail}")
    await stage.expect_nothing_left(family)


async def a_child_in_a_session_of_its_own_ends_with_it(stage: Stage) -> None:
    """A child that left the session is ended by its mark, daemon running or not."""
    await stage.start()
    child = stage.stray_child(stage.record().mark)
    await stage.stop()
    check(was_killed(child), "a marked child in a session of its own outlived a stop")
    await stage.start()
    family = stage.family()
    child = stage.stray_child(family.mark)
    await stage.reopen(change=lambda: kill_and_wait(family.leader_pid))
    stage.has_ended()
    check(await stage.engines.adopt() == (), "a dead leader was adopted")
    check(was_killed(child), "a marked child outlived a leader that died under no daemon")
    await stage.expect_nothing_left(family)
    stage.engines.open()


async def is_swept(stage: Stage) -> None:
    """What nobody owns is ended.

    That is an instance of another generation, and marked processes without a leader.
    """
    await stage.start()
    family = stage.family()
    state_dir_id = read_state_dir_id(records_dir(stage.state_dir))
    orphan = stage.stray_child(make_mark(state_dir_id, "m/v9#0", 7))
    stranger = stage.stray_child(make_mark("0" * 16, "m/v9#0", 7))
    await stage.reopen()
    await stage.engines.adopt()
    killed = await stage.engines.sweep(frozenset({(KEY, stage.generation + 1)}))
    stage.has_ended()
    check(killed == 2, f"{killed} engines were swept, not the unowned one and the orphan")
    check(was_killed(orphan), "a marked orphan was left")
    check(stranger.poll() is None, "a process of another state directory was killed")
    stranger.kill()
    stranger.wait()
    await stage.expect_nothing_left(family)
    stage.engines.open()


async def a_foreign_record_is_left_alone(stage: Stage) -> None:
    """A record of an unknown kind is left alone, not killed, and named in an alarm."""
    state_dir_id = read_state_dir_id(records_dir(stage.state_dir))
    mark = make_mark(state_dir_id, "m/v8#0", 1)
    process = stage.stray_child(mark)
    member = next(one for one in stage.marked() if one.pid == process.pid)
    record = {
        "worker_id": "martian", "kind": "martian", "contract": 99, "phase": "DREAMING", "mark": mark,
        "pid": process.pid, "start_ticks": member.start_ticks, "boot_id": "of this boot", "instance": "m/v8#0",
    }  # fmt: skip
    path = records_dir(stage.state_dir) / "martian.json"
    await stage.reopen(change=lambda: put_record(path, json.dumps(record)))
    check(all(one.instance.version.version != "v8" for one in await stage.engines.adopt()), "it was adopted")
    owned = frozenset({(KEY, stage.generation)}) if stage.ready is not None else frozenset()
    await stage.engines.sweep(owned)
    check(process.poll() is None, "it was killed")
    check(path.exists(), "its record was removed")
    alarms = stage.engines.alarms
    check(len(alarms) == 1 and "'martian'" in alarms[0], f"the alarm says {alarms}")
    process.kill()
    process.wait()
    path.unlink()
    stage.engines.open()


async def crashes_again_and_again(stage: Stage) -> None:
    """Each crash of a start is told, and none leaves anything behind."""
    for _ in range(3):
        await stage.begin()
        await until(lambda: read_records(stage.state_dir), "no leader came")
        family = stage.family()
        os.kill(family.leader_pid, signal.SIGKILL)
        lost = await stage.wait_for(EngineLost, 15.0)
        stage.has_ended()
        check(lost.generation == stage.generation, "another generation was told")
        await until(lambda: not read_records(stage.state_dir), "a record is left")
        await stage.expect_nothing_left(family)


async def answers_no_protobuf(stage: Stage) -> None:
    """A leader whose answers are no messages is stuck, and its probes say why.

    Nothing of the daemon's breaks.
    """
    await stage.start()
    path = stage.record_path()
    family = stage.family()
    async with GarbageServer() as garbage:
        record = {**json.loads(path.read_text(encoding="utf-8")), "address": garbage.address, "endpoints": []}
        await stage.reopen(change=lambda: put_record(path, json.dumps(record)))
        (found,) = await stage.engines.adopt()
        check(oip_target(found.endpoints) == garbage.address, "the record was not believed")
        stage.engines.open()
        stage.engines.probe(replace(stage.probe_effect(), endpoints=found.endpoints))
        failed = await stage.wait_for(ProbesFailed, 30.0)
        check("no message" in failed.detail, f"the probe says {failed.detail}")
        stuck = await stage.wait_for(EngineStuck, 30.0)
        check("no report" in stuck.detail, f"the daemon says {stuck.detail}")
        await stage.stop()
    await stage.expect_nothing_left(family)


async def a_broken_version_is_given_up(stage: Stage) -> None:
    """What cannot be loaded is told with the engine's own reason, and not tried again."""
    await stage.begin(stage.subject.broken)
    gave_up = await stage.wait_for(EngineGaveUp)
    check(stage.subject.broken_reason in gave_up.failure.message, f"the reason is {gave_up.failure.message}")
    family = stage.family()
    await stage.stop()
    await stage.expect_nothing_left(family)


async def a_start_that_never_ends_is_stuck(stage: Stage) -> None:
    """The limits of the kind end it, although its leader reports all the time."""
    await stage.begin(stage.subject.endless)
    await until(lambda: loads(stage), "the load did not begin")
    family = stage.family()
    stuck = await stage.wait_for(EngineStuck, stage.subject.kind.limits.start_quiet_s + 30.0)
    check("its start" in stuck.detail, f"the daemon says {stuck.detail}")
    await stage.stop()
    await stage.expect_nothing_left(family)


async def a_stop_in_a_start_leaves_nothing(stage: Stage) -> None:
    """A start that is given up ends its leader, wherever it is."""
    await stage.begin(stage.subject.endless)
    await until(lambda: read_records(stage.state_dir), "no leader came")
    family = stage.family()
    await stage.stop()
    await until(lambda: not find_members(family), "processes are left")


# --- small parts ---

_NEW_FIELDS = frozenset({"kind", "contract", "mark", "endpoints"})


GOOD_LIFE: tuple[Case, ...] = (
    Case("start, ready, the same order again", starts),
    Case("golden probes", passes_probes),
    Case("memory after the probes", measures_memory, CaseNeed.MEMORY),
    Case("requests are counted", counts_requests, CaseNeed.COUNTERS),
    Case("a golden text is scored", scores, CaseNeed.SCORING),
    Case("traces", traces, CaseNeed.TRACES),
    Case("latency histograms", has_histograms, CaseNeed.HISTOGRAMS),
    Case("adopt", is_adopted),
    Case("adopt a record of contract 1", is_adopted_from_contract_1),
    Case("drain, undrain, deadline", drains),
    Case("a foreign record", a_foreign_record_is_left_alone),
    Case("stop", stops),
)
DEATHS: tuple[Case, ...] = (
    Case("kill of a child", a_killed_child_ends_it, CaseNeed.CHILDREN),
    Case("kill of the leader", a_killed_leader_ends_it),
    Case("a child in a session of its own", a_child_in_a_session_of_its_own_ends_with_it),
    Case("sweep", is_swept),
)
FAILURES: tuple[Case, ...] = (
    Case("an answer that is no protobuf", answers_no_protobuf),
    Case("a version that cannot be loaded", a_broken_version_is_given_up),
    Case("a start that never ends", a_start_that_never_ends_is_stuck),
    Case("a stop in the middle of a start", a_stop_in_a_start_leaves_nothing),
    Case("crash loop", crashes_again_and_again),
)
CASES = GOOD_LIFE + DEATHS + FAILURES
