"""Pages of metrics, by what a declaration names."""

from __future__ import annotations

import time

from echoplaned.core.measure import Histogram, Measure
from echoplaned.core.numbers import MAX_COUNT
from echoplaned.core.token_counts import TokenCounts
from echoplaned.engine_kinds.foreign import Figure, FigureSource, MetricNames, MetricSeries
from echoplaned.engine_kinds.llama_cpp import METRICS
from echoplaned.supervisor.metrics import read_page

LLAMA = """# HELP llamacpp:n_decode_total x
llamacpp:prompt_tokens_total 13
llamacpp:tokens_predicted_total 21
llamacpp:n_decode_total 4
llamacpp:requests_processing 1
llamacpp:requests_deferred 2
llamacpp:predicted_tokens_seconds 13.4793
"""
VLLM = """vllm:request_success_total{engine="0",finished_reason="stop",model_name="a\\"b"} 3.0
vllm:request_success_total{engine="0",finished_reason="error",model_name="m"} 2.0
vllm:request_success_total{engine="1",finished_reason="length",model_name="m"} 1.0
vllm:ttft_bucket{le="0.1",engine="0"} 1.0
vllm:ttft_bucket{le="0.5",engine="0"} 3.0
vllm:ttft_bucket{le="+Inf",engine="0"} 4.0
vllm:ttft_sum{engine="0"} 1.75
vllm:broken NaN
not a line
"""


def test_llama_servers_page() -> None:
    """Steps and requests; it counts none that ended."""
    numbers = read_page(LLAMA, METRICS(""))
    assert (numbers.steps, numbers.in_flight, numbers.ok) == (17, 3, 0)
    assert not METRICS("").counts_requests


def test_tokens_are_counted_where_the_page_has_both() -> None:
    """A page without one of them says nothing of tokens, which is no 0; large numbers are read as llama-server writes them."""
    assert read_page(LLAMA, METRICS("")).tokens == TokenCounts(13, 21)
    large = LLAMA.replace(" 13\n", " 1.23457e+06\n")
    assert read_page(large, METRICS("")).tokens == TokenCounts(1_234_570, 21)
    cut = LLAMA.replace("llamacpp:tokens_predicted_total", "llamacpp:other")
    for text, names in ((cut, METRICS("")), (LLAMA, MetricNames()), ("", METRICS(""))):
        assert read_page(text, names).tokens is None
    assert read_page(LLAMA.replace(" 13\n", " 0\n").replace(" 21\n", " 0\n"), METRICS("")).tokens == TokenCounts()


def test_labels_choose_and_label_sets_are_added() -> None:
    """As vLLM writes them, with several engines on one page."""
    names = MetricNames(
        ok=(MetricSeries("vllm:request_success_total", (("finished_reason", ("stop", "length")),)),),
        server_errors=(MetricSeries("vllm:request_success_total", (("finished_reason", ("error",)),)),),
        histograms=((Measure.FIRST_TOKEN, "vllm:ttft"), (Measure.END_TO_END, "vllm:missing")),
    )
    numbers = read_page(VLLM, names)
    assert (numbers.ok, numbers.server_errors) == (4, 2)
    (histogram,) = numbers.histograms
    assert (histogram.bounds_s, histogram.counts, histogram.sum_s) == ((0.1, 0.5), (1, 2, 1), 1.75)


def test_a_page_that_is_none_counts_nothing() -> None:
    """Whatever an engine writes there."""
    for text in ("", "\0" * 100, "<html>", "llamacpp:n_decode_total nope", 'llamacpp:n_decode_total{x="1"'):
        assert read_page(text, METRICS("")).steps == 0


def test_a_label_is_no_number_beyond_64_bits() -> None:
    """Python reads no number of thousands of digits; such a label says as much as one that was not set."""
    names = MetricNames(figures=(FigureSource(Figure.CACHE_BLOCKS, "x:info", "blocks"),))
    for text, blocks in (("12", 12), ("None", 0), ("9" * 5000, 0), ("\N{SUPERSCRIPT TWO}", 0)):
        assert read_page(f'x:info{{blocks="{text}"}} 1', names).figures.cache_blocks == blocks


def test_sums_beyond_all_numbers_are_counts() -> None:
    """Two samples that a double holds add up to what it does not: the most that is counted, and less than nothing is nothing."""
    names = MetricNames(
        steps=(MetricSeries("x:steps"),),
        running=(MetricSeries("x:running"), MetricSeries("x:less")),
        prompt_tokens=(MetricSeries("x:steps"),),
        generated_tokens=(MetricSeries("x:less"),),
        histograms=((Measure.END_TO_END, "x:s"),),
        figures=(FigureSource(Figure.CACHE_BLOCKS, "x:steps"),),
    )
    lines = ("x:steps", "x:running", 'x:s_bucket{le="+Inf"}', "x:s_sum")
    text = "".join(f"{line} 1e308\n" * 2 for line in lines) + "x:less -1e308\n" * 2
    numbers = read_page(text, names)
    assert (numbers.steps, numbers.in_flight) == (MAX_COUNT, 0)
    assert numbers.tokens == TokenCounts(MAX_COUNT, 0)
    assert numbers.figures.cache_blocks == MAX_COUNT
    assert numbers.histograms == (Histogram(Measure.END_TO_END, (), (MAX_COUNT,), MAX_COUNT),)


def test_letters_without_an_end_are_looked_at_once() -> None:
    """What is no label is not tried again from each of its letters: a page of megabytes takes less than a second."""
    names = METRICS("")
    began_s = time.thread_time()
    for line in ("llamacpp:n_decode_total", "x"):
        for rest in ("a" * 200_000, 'a="' + "\\\\" * 100_000, ", " * 100_000 + "a", "}" * 200_000):
            read_page(f"{line}{{{rest}}} 1\n", names)
    assert time.thread_time() - began_s < 1.0


def test_labels_with_commas_and_quotes() -> None:
    """They are read one behind the other, with spaces between them or a comma at the end."""
    names = MetricNames(ok=(MetricSeries("x", (("b", ("2",)),)),))
    for labels in ('a="1",b="2"', 'a="}, b=\\"3\\"", b="2",', 'b="2"', 'a="\\\\",b="2"'):
        assert read_page(f"x{{{labels}}} 7\n", names).ok == 7
    for labels in ("", 'b="3"', 'a=1,b="2"', 'b="2'):
        assert read_page(f"x{{{labels}}} 7\n", names).ok == 0
