"""LLB, the graphs of BuildKit's clients, as graphs of ours. Source: BuildKit's `solver/pb/ops.proto`, `attr.go`, `client/llb`."""
