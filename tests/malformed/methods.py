"""Every method that a Headwater server has, with what is needed to call it by bytes."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from headwater.v1 import answer_service_pb2, assistant_service_pb2, retrieval_service_pb2

_SERVICES: tuple[ServiceDescriptor, ...] = (
    answer_service_pb2.DESCRIPTOR.services_by_name["AnswerService"],
    assistant_service_pb2.DESCRIPTOR.services_by_name["AssistantService"],
    retrieval_service_pb2.DESCRIPTOR.services_by_name["RetrievalService"],
    health_pb2.DESCRIPTOR.services_by_name["Health"],
    reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"],
)
_ENDLESS = {"/grpc.health.v1.Health/Watch"}


@dataclass(frozen=True)
class Method:
    """One RPC."""

    path: str
    request: Descriptor
    request_streaming: bool
    response_streaming: bool

    @property
    def ours(self) -> bool:
        """Whether it is of Headwater's own services, where every refusal has its reason."""
        return self.path.startswith("/headwater.")

    @property
    def endless(self) -> bool:
        """Whether its stream has no end, so that only a deadline ends it."""
        return self.path in _ENDLESS

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


def _method(method: MethodDescriptor) -> Method:
    path = f"/{method.containing_service.full_name}/{method.name}"
    return Method(path, method.input_type, method.client_streaming, method.server_streaming)


METHODS: tuple[Method, ...] = tuple(_method(method) for service in _SERVICES for method in service.methods)
OURS: tuple[Method, ...] = tuple(method for method in METHODS if method.ours)
