"""The echo gate's evidence as bytes and back.

So it outlives the daemon: scores, listeners, and the wealth of every bet.

Requests that wait for a partner are not stored, as a restart is a break in the traffic; nor are the features that only describe.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from echoplaned.gates.echo import evidence as echo
from echoplaned.gates.echo.evidence import EchoEvidence
from echoplaned.gates.echo.features import FeatureModel, Listener, Network, Predictors, Scale
from echoplaned.gates.echo.live import LiveEvidence
from echoplaned.gates.echo.matching import Waiting
from echoplaned.gates.echo.scored import ScoredText
from echoplaned.gates.echo.sequences import AnswerSequence
from echoplaned.gates.echo.subject import EchoSubject
from echoplaned.gates.echo.wager import Wager
from echoplaned.gates.gate import EvidenceUnreadableError

FORMAT = 3
"""Changes with what is written; evidence in another format is not read, and begins anew."""

Arrays = dict[str, NDArray[np.generic]]


def encode(evidence: EchoEvidence) -> bytes:
    """Write evidence."""
    live = evidence.live
    facts = {
        "format": FORMAT,
        "wanted": sorted(evidence.asked),
        "missing": sorted(evidence.missing),
        "conversations": sorted(live.waiting.conversations),
        "pairs": live.waiting.pairs,
        "void": live.waiting.void,
        "repeats": live.waiting.repeats,
        "skipped": live.skipped,
        "why_default": evidence.subject.why_default,
        "texts": [_text_facts(text) for text in evidence.scored.values()],
        "calibration": len(live.calibration),
        "wagers": [one.pairs for one in live.wagers],
        "model": None if live.model is None else live.model.count,
        "predicts": live.model is not None and live.model.predictors is not None,
        "network": _network_facts(evidence.subject.network),
    }
    arrays: Arrays = {"facts": np.frombuffer(json.dumps(facts).encode(), np.uint8), "path": np.array(live.log_e_path)}
    arrays["digests"] = np.array(sorted(live.waiting.digests), np.uint64)
    for at, text in enumerate(evidence.scored.values()):
        arrays |= {f"text{at}.{name}": np.array(value) for name, value in _token_values(text).items()}
    for at, sequence in enumerate(live.calibration):
        arrays |= {f"calibration{at}.{name}": value for name, value in _sequence_arrays(sequence).items()}
    for at, wager in enumerate(live.wagers):
        arrays |= {f"wager{at}.{name}": getattr(wager, name) for name in ("total", "squares", "log_wealth")}
    if live.model is not None:
        arrays |= _model_arrays(live.model)
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **arrays)
    return out.getvalue()


def decode(subject: EchoSubject, content: bytes) -> EchoEvidence:
    """Read evidence; whose it is comes from the rollout.

    Raises:
        EvidenceUnreadableError: it is damaged, or of another format.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
        facts = json.loads(arrays["facts"].tobytes())
        if facts["format"] != FORMAT:
            raise EvidenceUnreadableError(f"format {facts['format']!r} is not {FORMAT}")
        if facts["network"] != _network_facts(subject.network):
            raise EvidenceUnreadableError("another reservoir has listened")
        return _decode(subject, facts, arrays)
    except (KeyError, TypeError, ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise EvidenceUnreadableError(f"{type(error).__name__}: {error}") from error


def _decode(subject: EchoSubject, facts: Mapping[str, object], arrays: Arrays) -> EchoEvidence:
    texts = [_text(facts_of, f"text{at}.", arrays) for at, facts_of in enumerate(_list(facts["texts"]))]
    wagers = tuple(
        Wager(int(str(pairs)), *(_floats(arrays[f"wager{at}.{name}"]) for name in ("total", "squares", "log_wealth")))
        for at, pairs in enumerate(_list(facts["wagers"]))
    )
    waiting = Waiting(
        conversations=frozenset(map(str, _list(facts["conversations"]))),
        pairs=int(str(facts["pairs"])),
        void=int(str(facts["void"])),
        digests=frozenset(map(int, arrays["digests"])),
        repeats=int(str(facts["repeats"])),
    )
    live_evidence = LiveEvidence(
        calibration=tuple(_sequence(f"calibration{at}.", arrays) for at in range(int(str(facts["calibration"])))),
        model=_model(subject.network, facts, arrays),
        waiting=waiting,
        wagers=wagers,
        log_e_path=tuple(map(float, arrays["path"])),
        skipped=int(str(facts["skipped"])),
    )
    known = EchoEvidence(
        subject if subject.int8_baseline is not None else replace(subject, why_default=str(facts["why_default"])),
        asked=frozenset(int(str(n)) for n in _list(facts["wanted"])),
        missing=frozenset(int(str(n)) for n in _list(facts["missing"])),
        scored=MappingProxyType({text.index: text for text in texts}),
        live=live_evidence,
    )
    return echo.reweigh(known)


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise EvidenceUnreadableError(f"a list is needed, not {type(value).__name__}")
    return value


def _floats(array: NDArray[np.generic]) -> NDArray[np.float64]:
    return array.astype(np.float64)


# --- texts -------------------------------------------------------------------------------------------------------------


def _text_facts(text: ScoredText) -> dict[str, object]:
    return {"index": text.index, "text": text.text, "problem": text.problem}


def _token_values(text: ScoredText) -> dict[str, tuple[float, ...]]:
    """Return what is measured of a text; one number is a row of one."""
    by_token = {"kl": text.kl, "difference": text.difference}
    alone = {"cosine": text.cosine, "class_kl": text.class_kl}
    rows = {name: value for name, value in by_token.items() if value is not None}
    return rows | {name: (value,) for name, value in alone.items() if value is not None}


def _text(facts: object, place: str, arrays: Arrays) -> ScoredText:
    if not isinstance(facts, dict):
        raise EvidenceUnreadableError("a text is no object")
    rows = {name: arrays.get(place + name) for name in ("kl", "difference", "cosine", "class_kl")}
    values = {name: None if row is None else tuple(map(float, row)) for name, row in rows.items()}
    alone = {name: None if (row := values[name]) is None else row[0] for name in ("cosine", "class_kl")}
    return ScoredText(
        int(facts["index"]),
        str(facts["text"]),
        values["kl"],
        values["difference"],
        alone["cosine"],
        alone["class_kl"],
        str(facts["problem"]),
    )


# --- live requests -------------------------------------------------------------------------------------------------------


def _sequence_arrays(sequence: AnswerSequence) -> Arrays:
    alone = {"stopped": np.array(sequence.stopped), "digest": np.array(sequence.digest, np.uint64)}
    return {"tokens": sequence.tokens, "dt": sequence.dt, "output": sequence.output, **alone}


def _sequence(place: str, arrays: Arrays) -> AnswerSequence:
    tokens, output = (arrays[place + name].astype(np.float32) for name in ("tokens", "output"))
    stopped, digest = float(arrays[f"{place}stopped"].item()), int(arrays[f"{place}digest"].item())
    return AnswerSequence(tokens, _floats(arrays[f"{place}dt"]), output, stopped, digest)


def _network_facts(network: Network) -> dict[str, object]:
    return {"tree": list(network.tree), **asdict(network.settings)}


def _model_arrays(model: FeatureModel) -> Arrays:
    scales = {f"scale{at}": np.stack([scale.centre, scale.spread]) for at, scale in enumerate(model.scales)}
    known = model.predictors
    if known is None:
        return dict(scales)
    channels = np.stack([known.channels.centre, known.channels.spread])
    return {**scales, "channels": channels, "weights": known.weights, "bias": known.bias, "ar": known.ar}


def _model(network: Network, facts: Mapping[str, object], arrays: Arrays) -> FeatureModel | None:
    if facts["model"] is None:
        return None
    scales = tuple(Scale(*_floats(arrays[f"scale{at}"])) for at in range(len(Listener)))
    predictors = None
    if facts["predicts"]:
        weights, bias, ar = (_floats(arrays[name]) for name in ("weights", "bias", "ar"))
        predictors = Predictors(Scale(*_floats(arrays["channels"])), network.reservoir(), weights, bias, ar)
    return FeatureModel(predictors, scales, int(str(facts["model"])))
