"""How often equal versions are called different: 1,000 rollouts whose requests all come from the pools of unchanged models.

Requests go through the gate's own matching, in the order in which their telemetry arrives, with the only stratum that the gate can tell
here (all prompts are drawn, and of one class of length). What a rollout does to that order is the point of the five kinds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.dtesn.drift import listening, pools, power, variants
from benchmarks.dtesn.drift.corpus import KINDS
from benchmarks.dtesn.drift.listening import CALIBRATED_ON
from benchmarks.dtesn.drift.plan import GROUPS
from echoplaned.gates.echo import matching, wager
from echoplaned.gates.echo.description import MAX_PAIRS, PairFeatures, describe
from echoplaned.gates.echo.features import Listener
from echoplaned.gates.echo.live import VOTING
from echoplaned.gates.echo.matching import TracedRequest, Waiting
from echoplaned.gates.echo.sequences import AnswerSequence

ROLLOUTS_PER_KIND: Final = 200
LEVELS: Final = (0.05, 0.2)
"""Where p-values of the description are held against uniform ones."""
SHARES: Final = (0.05, 0.25, 0.5, 0.75)
REQUESTS_PER_STAGE: Final = 400
_TURNS_MEAN: Final = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Requests of unchanged models: where each is in its group, and what each listener makes of it."""

    group: NDArray[np.int64]
    features: Mapping[Listener, NDArray[np.float64]]

    def drawn(self, groups: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw a request of each of some groups; none comes twice."""
        found = np.empty(len(groups), np.int64)
        for group in np.unique(groups):
            places = np.flatnonzero(groups == group)
            found[places] = rng.choice(np.flatnonzero(self.group == group), len(places), replace=False)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Traffic:
    """A rollout's requests in the order in which their telemetry arrives. ``index``: in the source; ``lost``: telemetry damaged."""

    index: NDArray[np.int64]
    is_new: NDArray[np.bool_]
    lost: NDArray[np.bool_]
    conversation: NDArray[np.int64] | None = None


def source() -> Source:
    """Put the unchanged models' pools together, without what the listeners are fitted on."""
    names = [variant.name for variant in variants.VARIANTS if variant.is_null]
    skipped = {variants.OLD: CALIBRATED_ON}
    groups = [pools.load(name).group[skipped.get(name, 0) :] for name in names]
    told = [listening.features_of(name) for name in names]
    joined = {
        each: np.concatenate([found[each][skipped.get(name, 0) :] for name, found in zip(names, told, strict=True)])
        for each in Listener
    }
    return Source(np.concatenate(groups), joined)


def plain(of: Source, rng: np.random.Generator) -> Traffic:
    """Make requests that are independent of each other, in stages of rising share."""
    count = len(SHARES) * REQUESTS_PER_STAGE
    index = of.drawn(rng.integers(0, len(GROUPS), count), rng)
    return Traffic(index, rng.random(count) < np.repeat(SHARES, REQUESTS_PER_STAGE), np.zeros(count, bool))


def sticky(of: Source, rng: np.random.Generator) -> Traffic:
    """Make conversations: all turns on one version, of one group, so that they are alike; told by their id."""
    count = len(SHARES) * REQUESTS_PER_STAGE
    turns = rng.geometric(1.0 / _TURNS_MEAN, count)
    conversation = np.repeat(np.arange(count), turns)[:count]
    groups = rng.integers(0, len(GROUPS), count)[conversation]
    began = np.searchsorted(conversation, conversation)
    shares = np.repeat(SHARES, REQUESTS_PER_STAGE)[began]
    is_new = rng.random(count)[conversation] < shares
    return Traffic(of.drawn(groups, rng), is_new, np.zeros(count, bool), conversation)


def lagging(of: Source, rng: np.random.Generator) -> Traffic:
    """Let the true share follow the asked one slowly, while the mix of prompts changes."""
    count = len(SHARES) * REQUESTS_PER_STAGE
    share, shares = 0.0, []
    for asked in np.repeat(SHARES, REQUESTS_PER_STAGE):
        share += (asked - share) / 300.0
        shares.append(share)
    place = np.arange(count) / count
    kind = np.where(rng.random(count) < place, 0, rng.integers(1, len(KINDS), count))
    per_kind = len(GROUPS) // len(KINDS)
    index = of.drawn(kind * per_kind + rng.integers(0, per_kind, count), rng)
    return Traffic(index, rng.random(count) < np.array(shares), np.zeros(count, bool))


def length_biased(of: Source, rng: np.random.Generator) -> Traffic:
    """Let telemetry arrive when an answer is complete: after a change of the share the new version's short answers come first."""
    count = len(SHARES) * REQUESTS_PER_STAGE
    made = plain(of, rng)
    lengths = np.array([group.answer_length for group in GROUPS])[of.group[made.index]]
    # Requests a token time: 5, so that a long answer is overtaken by the short ones of 160 later requests.
    order = np.argsort(np.arange(count) + 5.0 * lengths, kind="stable")
    return Traffic(made.index[order], made.is_new[order], made.lost[order])


def dropped(of: Source, rng: np.random.Generator) -> Traffic:
    """Lose the telemetry of long answers more often, on both versions alike, and a fifth of the new version's besides."""
    made = plain(of, rng)
    lengths = np.array([group.answer_length for group in GROUPS])[of.group[made.index]]
    chance = 0.3 * lengths / lengths.max()
    lost = (rng.random(len(chance)) < chance) | (made.is_new & (rng.random(len(chance)) < 0.2))
    return Traffic(made.index, made.is_new, lost)


KINDS_OF_ROLLOUT: Final[Mapping[str, Callable[[Source, np.random.Generator], Traffic]]] = {
    "plain": plain,
    "sticky conversations": sticky,
    "lagging share": lagging,
    "length-biased completion": length_biased,
    "dropped telemetry": dropped,
}


def paired(traffic: Traffic) -> NDArray[np.int64]:
    """Let the gate's matching pair the requests: [pairs, 2], indices of new and old."""
    told = [
        None if lost else AnswerSequence(stopped=float(index))
        for index, lost in zip(traffic.index, traffic.lost, strict=True)
    ]
    of = traffic.conversation
    names = [""] * len(told) if of is None else [str(each) for each in of]
    requests = tuple(
        TracedRequest(bool(is_new), "drawn", sequence, name)
        for is_new, sequence, name in zip(traffic.is_new, told, names, strict=True)
    )
    _, pairs = matching.match(Waiting(), requests)
    return np.array([(int(pair.new.stopped), int(pair.old.stopped)) for pair in pairs]).reshape(-1, 2)


def highest(of: Source, rollouts: list[NDArray[np.int64]]) -> dict[str, NDArray[np.float64]]:
    """Return each test's largest logarithm of an e-value in each rollout."""
    longest = max(map(len, rollouts))
    paths = []
    for listener in Listener:
        told = of.features[listener]
        # Behind a rollout's end both sides are alike, so nothing is won or lost there.
        sides = np.zeros((2, len(rollouts), longest, told.shape[1]))
        for row, pairs in enumerate(rollouts):
            sides[:, row, : len(pairs)] = told[pairs].transpose(1, 0, 2)
        paths.append(wager.path(sides[0], sides[1]))
    voting = np.stack([path for path, listener in zip(paths, Listener, strict=True) if listener in VOTING])
    together = np.logaddexp.reduce(voting, axis=0) - math.log(len(VOTING))
    named = {**{each.value: path for each, path in zip(Listener, paths, strict=True)}, "AVERAGE": together}
    return {name: path.max(axis=1) for name, path in named.items()}


def p_values(of: Source, rollouts: list[NDArray[np.int64]]) -> dict[str, dict[str, int]]:
    """Return how many rollouts' descriptions, each of its newest pairs at its end, have a p-value of at most each level."""
    counts = {each.value: dict.fromkeys(map(str, LEVELS), 0) for each in Listener}
    for pairs in rollouts:
        newest = pairs[-MAX_PAIRS:]
        told = (tuple(tuple(of.features[each][at] for each in Listener) for at in pair) for pair in newest)
        for found in describe(tuple(PairFeatures(new, old) for new, old in told)):
            for level in LEVELS:
                counts[found.listener.value][str(level)] += found.p_value <= level
    return counts


def measure() -> None:
    """Run all rollouts, print and keep how many gave an alarm, and how many descriptions a small p-value."""
    of = source()
    kept: dict[str, dict[str, dict[str, int]]] = {}
    small: dict[str, dict[str, dict[str, int]]] = {}
    for number, (kind, make) in enumerate(KINDS_OF_ROLLOUT.items()):
        rng = np.random.default_rng([18, number])
        rollouts = [paired(make(of, rng)) for _ in range(ROLLOUTS_PER_KIND)]
        tops = highest(of, rollouts)
        kept[kind] = {
            test: {f"{alpha}": int((top >= -math.log(alpha)).sum()) for alpha in (0.01, 0.002)}
            for test, top in tops.items()
        }
        pairs = sum(map(len, rollouts)) / len(rollouts)
        small[kind] = p_values(of, rollouts)
        print(f"{kind}: {ROLLOUTS_PER_KIND} rollouts of {pairs:.0f} pairs; alarms {kept[kind]}", flush=True)
        print(f"  p-values of the description at most: {small[kind]}", flush=True)
    tests = next(iter(kept.values()))
    total = {
        test: {alpha: sum(kind[test][alpha] for kind in kept.values()) for alpha in counts}
        for test, counts in tests.items()
    }
    print(f"all {ROLLOUTS_PER_KIND * len(kept)}: alarms {total}", flush=True)
    found = {"rollouts_per_kind": ROLLOUTS_PER_KIND, "alarms": kept, "total": total, "description_p_values": small}
    power.keep("nulls", found)
