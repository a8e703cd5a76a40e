"""Effects as lines of text, as transcripts have them."""

from __future__ import annotations

from echoplaned.core import effects as fx
from echoplaned.core.endpoints import oip_target


def show_effect(effect: fx.Effect) -> str:  # noqa: C901, PLR0911, PLR0912 - one line for each kind of effect
    """Write an effect as one line."""
    match effect:
        case fx.Persist():
            return f"persist e{effect.epoch}"
        case fx.PlaceInstance():
            look = f" look={effect.looks}" if effect.looks else ""
            return f"plan {effect.instance} ledger={effect.reservation_epoch}{look}"
        case fx.StartEngine():
            return f"start {effect.instance}.{effect.generation} on {','.join(effect.placement.device_ids)}"
        case fx.ProbeEngine():
            return f"probe {effect.instance}.{effect.generation} at {oip_target(effect.endpoints)}"
        case fx.DrainEngine():
            calls = " of its calls" if effect.calls_only else ""
            return f"drain {effect.instance}.{effect.generation}{calls} until {effect.deadline_s:g}"
        case fx.UndrainEngine():
            return f"undrain {effect.instance}.{effect.generation}"
        case fx.ExplainMemory():
            return f"explain {effect.instance}.{effect.generation} {effect.usage.sequences}x{effect.usage.tokens}"
        case fx.StopEngine():
            return f"stop {effect.instance}.{effect.generation}"
        case fx.PublishRoutes():
            return _show_routes(effect)
        case fx.EvaluateGates():
            rollout = effect.rollout
            return (
                f"evaluate {rollout.rollout_id} {rollout.phase} stage={rollout.stage} window={rollout.evidence_window}"
            )
        case fx.FinishOperation():
            failure = effect.operation.failure
            outcome = f"{failure.reason.value}: {failure.message}" if failure is not None else "ok"
            return f"finish {effect.operation.operation_id} {outcome}"
        case fx.Reply():
            return f"reply {effect.operation_id}"
        case fx.Announce():
            return f"announce {effect.kind} {effect.text}"


def _show_routes(effect: fx.PublishRoutes) -> str:
    clusters = [
        f"{c.version}={c.weight_ppm if c.routed else 'unrouted'}[{len(c.endpoints)}]" for c in effect.routes.clusters
    ]
    urgent = " urgent" if effect.urgent else ""
    aliases = f" aliases={','.join(effect.routes.aliases)}" if effect.routes.aliases else ""
    return f"publish {effect.model} {' '.join(clusters) or 'nothing'} as {effect.epoch}{aliases}{urgent}"
