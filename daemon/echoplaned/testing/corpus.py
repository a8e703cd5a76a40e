"""The text from which the tokenizers of the small checkpoints are made."""

from __future__ import annotations

from typing import Final

CORPUS: Final = (
    "A control plane decides which model serves which request, and when a new version may take its place.",
    "The river rises in the hills, runs past the old mill and reaches the sea after nine days.",
    "Weights are loaded once; what is asked of them afterwards is only arithmetic.",
    "She opened the window, listened to the rain for a while and went back to her book.",
    "If the new version answers worse than the old one, traffic goes back before anybody has to ask.",
    "Bread needs flour, water, salt, time and a warm place.",
    "Memory is counted before it is used: parameters, cache, activations and what the runtime keeps.",
    "The train to the north leaves at seven from platform four, the next one an hour later.",
    "Every stage of a rollout waits for evidence, not for a clock.",
    "Birds that winter in the south come back when the ice on the lakes has gone.",
    "A process that dies is seen, taken out of the routes and started again.",
    "He measured the table twice, cut the board once and was still a finger short.",
    "Short questions get short answers; long ones are given the time that they need.",
    "The committee met on Tuesday and agreed on nothing but the date of its next meeting.",
    "Latency is what one caller feels, throughput is what all of them share.",
    "In the market they sell apples, onions, cheese, fresh bread and second-hand books.",
    # What the load generator sends: each of its words is one token.
    (
        "The model answers every request that reaches it while a new version takes a growing share of the traffic and nobody notices"
        " because nothing fails and when the new one is worse the old one has it all back before anyone had to ask."
    ),
)
