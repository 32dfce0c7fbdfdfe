"""The gRPC side of the services: decode, call, encode, and nothing else, for all of them alike.

A service's implementation has one method an RPC, in snake case, taking the request (or an async iterator of requests)
and the caller (`headwater_server.interfaces`), so that its servicer can be made from the service's descriptor.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NoReturn

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from headwater.v1 import answer_service_pb2, assistant_service_pb2, retrieval_service_pb2
from headwater_server.errors import NotImplementedYet
from headwater_server.runtime.interceptors import Context, current_caller
from headwater_server.runtime.tolerant_server import add_methods

RETRIEVAL: ServiceDescriptor = retrieval_service_pb2.DESCRIPTOR.services_by_name["RetrievalService"]
ASSISTANT: ServiceDescriptor = assistant_service_pb2.DESCRIPTOR.services_by_name["AssistantService"]
ANSWER: ServiceDescriptor = answer_service_pb2.DESCRIPTOR.services_by_name["AnswerService"]


def method_name(method: MethodDescriptor) -> str:
    """The Python name of an RPC: `StreamAnswer` is `stream_answer`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).lower()


def add_servicer(server: grpc.aio.Server, service: ServiceDescriptor, implementation: object) -> None:
    """Serves `implementation` as `service`.

    Args:
        server: The server, not yet started.
        service: The service's descriptor.
        implementation: Has a method for each RPC that is done; the rest of the contract is answered with UNIMPLEMENTED.
    """
    handlers = {
        method.name: _handler(method, getattr(implementation, method_name(method), None) or _later(method))
        for method in service.methods
    }
    add_methods(server, service.full_name, handlers)


def _later(method: MethodDescriptor) -> Callable[..., Any]:
    def call(*_: object) -> NoReturn:
        raise NotImplementedYet(f"{method.name} is part of the contract, and this version does not do it yet")

    return call


def _handler(method: MethodDescriptor, call: Callable[..., Any]) -> grpc.RpcMethodHandler[Any, Any]:
    def behavior(request: Any, _: Context) -> Any:
        return call(request, current_caller())

    if method.client_streaming:
        make = (
            grpc.stream_stream_rpc_method_handler if method.server_streaming else grpc.stream_unary_rpc_method_handler
        )
    else:
        make = grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
    return make(
        behavior,
        request_deserializer=GetMessageClass(method.input_type).FromString,
        response_serializer=GetMessageClass(method.output_type).SerializeToString,
    )
