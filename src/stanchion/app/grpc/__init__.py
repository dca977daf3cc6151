"""The gRPC listener beside the public one; its library is the extra `grpc`."""
