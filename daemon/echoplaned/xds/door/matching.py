"""Parts of a route table that is a tree of matchers.

Inputs, predicates and actions.


See https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/matching/matching_api
"""

from __future__ import annotations

from collections.abc import Iterable

from envoy.config.route.v3 import route_components_pb2
from envoy.type.matcher.v3 import http_inputs_pb2
from xds.core.v3 import extension_pb2
from xds.type.matcher.v3 import matcher_pb2, regex_pb2, string_pb2

from echoplaned.xds.messages import Message, pack_any


def header_input(name: str) -> extension_pb2.TypedExtensionConfig:
    """Return the input that reads a request's header."""
    return _extension(name, http_inputs_pb2.HttpRequestHeaderMatchInput(header_name=name))


def route(action: route_components_pb2.Route) -> matcher_pb2.Matcher.OnMatch:
    """Return what takes a route."""
    return matcher_pb2.Matcher.OnMatch(action=_extension("route", action))


def action(name: str, config: Message) -> matcher_pb2.Matcher.OnMatch:
    """Return what takes an action that is no route."""
    return matcher_pb2.Matcher.OnMatch(action=_extension(name, config))


def routes(*actions: route_components_pb2.Route) -> matcher_pb2.Matcher.OnMatch:
    """Return what takes the first route that matches, or none."""
    return matcher_pb2.Matcher.OnMatch(
        action=_extension("routes", route_components_pb2.RouteList(routes=list(actions)))
    )


def when_header(
    name: str, pattern: str, then: matcher_pb2.Matcher.OnMatch
) -> matcher_pb2.Matcher.MatcherList.FieldMatcher:
    """Return an entry of a list: a header's regular expression, and what follows.

    The whole header must match.
    """
    return matcher_pb2.Matcher.MatcherList.FieldMatcher(predicate=header_is(name, pattern), on_match=then)


def header_is(name: str, pattern: str) -> matcher_pb2.Matcher.MatcherList.Predicate:
    """Return whether a whole header matches a regular expression."""
    # The matching API refuses a regular expression without its engine.
    regex = regex_pb2.RegexMatcher(google_re2=regex_pb2.RegexMatcher.GoogleRE2(), regex=pattern)
    single = matcher_pb2.Matcher.MatcherList.Predicate.SinglePredicate(
        input=header_input(name), value_match=string_pb2.StringMatcher(safe_regex=regex)
    )
    return matcher_pb2.Matcher.MatcherList.Predicate(single_predicate=single)


def unless_any(
    predicates: Iterable[matcher_pb2.Matcher.MatcherList.Predicate], then: matcher_pb2.Matcher.OnMatch
) -> matcher_pb2.Matcher.MatcherList.FieldMatcher:
    """Return an entry of a list: what follows where none of the predicates holds."""
    listed = matcher_pb2.Matcher.MatcherList.Predicate.PredicateList(predicate=predicates)
    any_of = matcher_pb2.Matcher.MatcherList.Predicate(or_matcher=listed)
    none_of = matcher_pb2.Matcher.MatcherList.Predicate(not_matcher=any_of)
    return matcher_pb2.Matcher.MatcherList.FieldMatcher(predicate=none_of, on_match=then)


def when_all(
    predicates: Iterable[matcher_pb2.Matcher.MatcherList.Predicate], then: matcher_pb2.Matcher.OnMatch
) -> matcher_pb2.Matcher.MatcherList.FieldMatcher:
    """Return an entry of a list: what follows where each of the predicates holds."""
    listed = matcher_pb2.Matcher.MatcherList.Predicate.PredicateList(predicate=predicates)
    all_of = matcher_pb2.Matcher.MatcherList.Predicate(and_matcher=listed)
    return matcher_pb2.Matcher.MatcherList.FieldMatcher(predicate=all_of, on_match=then)


def header_is_not(name: str, pattern: str) -> matcher_pb2.Matcher.MatcherList.Predicate:
    """Return whether a header is absent, or not as a whole what is described."""
    return matcher_pb2.Matcher.MatcherList.Predicate(not_matcher=header_is(name, pattern))


def first_of(*entries: matcher_pb2.Matcher.MatcherList.FieldMatcher) -> matcher_pb2.Matcher:
    """Return a matcher that goes through a list."""
    return matcher_pb2.Matcher(matcher_list=matcher_pb2.Matcher.MatcherList(matchers=list(entries)))


def nested(matcher: matcher_pb2.Matcher) -> matcher_pb2.Matcher.OnMatch:
    """Return what goes on with another matcher."""
    return matcher_pb2.Matcher.OnMatch(matcher=matcher)


def _extension(name: str, config: Message) -> extension_pb2.TypedExtensionConfig:
    return extension_pb2.TypedExtensionConfig(name=name, typed_config=pack_any(config))
