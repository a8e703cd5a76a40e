"""The order of each method of the catalogue, as published."""

from __future__ import annotations

ORDERS = {
    "euler": 1,
    "midpoint": 2,
    "heun": 2,
    "ralston": 2,
    "kutta3": 3,
    "ssp3": 3,
    "bogacki-shampine": 3,
    "rk4": 4,
    "three-eighths": 4,
    "dormand-prince5": 5,
    "gauss4": 4,
    "radau-iia3": 3,
    "radau-iia5": 5,
}
