"""The services for the gateway's transcoder: REST routes, OpenAI's model list."""

from __future__ import annotations

from echoplaned.rpc.rest.descriptors import SERVICES, descriptor_set, transcoded_services
from echoplaned.rpc.rest.gateway import add_gateway_services

__all__ = ["SERVICES", "add_gateway_services", "descriptor_set", "transcoded_services"]
