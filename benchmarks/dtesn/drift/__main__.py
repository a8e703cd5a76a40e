"""One command a part: ``python -m benchmarks.dtesn.drift train|pools|power|nulls``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Final


def _train() -> None:
    from benchmarks.dtesn.drift.train import train  # noqa: PLC0415 - torch is imported only by the parts that need it

    model = train()
    print(f"held-out loss {model.loss_nats:.3f} nats a token, in {model.folder}")


def _pools() -> None:
    from benchmarks.dtesn.drift import pools, probes  # noqa: PLC0415 - as above

    pools.sample_all()
    probes.probe_all()


def _power() -> None:
    from benchmarks.dtesn.drift import golden, power, vote  # noqa: PLC0415 - as above

    power.measure()
    golden.measure()
    vote.measure()


def _nulls() -> None:
    from benchmarks.dtesn.drift import nulls  # noqa: PLC0415 - as above

    nulls.measure()


COMMANDS: Final[Mapping[str, Callable[[], None]]] = {"train": _train, "pools": _pools, "power": _power, "nulls": _nulls}


def main() -> int:
    """Run one part; each goes on where an earlier run of it was stopped."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dtesn.drift", description=__doc__)
    parser.add_argument("command", choices=list(COMMANDS))
    COMMANDS[parser.parse_args().command]()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
