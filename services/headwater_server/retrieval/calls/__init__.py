"""The calls of `headwater.v1.RetrievalService`, by what they are about; `service.RetrievalCore` puts them together."""
