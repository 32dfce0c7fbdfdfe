"""Asking again, and asking another: what is done about a provider that fails before it has said anything."""

from headwater_server.assistant.failover.asking import Attempt, Spoken
from headwater_server.assistant.failover.health import ProviderHealth
from headwater_server.assistant.failover.policy import FailoverPolicy
from headwater_server.assistant.failover.speaking import first_to_speak

__all__ = ["Attempt", "FailoverPolicy", "ProviderHealth", "Spoken", "first_to_speak"]
