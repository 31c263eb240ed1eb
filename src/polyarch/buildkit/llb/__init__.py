"""Our graphs as LLB, which daemons build without a frontend. Source: BuildKit's `solver/pb/ops.proto`, `attr.go`, `client/llb`."""
