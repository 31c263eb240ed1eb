"""BuildKit daemons as nodes: their gRPC API, spoken as docker buildx speaks it.

`connection` reaches a daemon, `api` calls it, `session` answers what it asks us for during a build (`files`, `services`),
`build` carries out a request with all of these. Messages are `messages`, in the wire format of `polyarch.wire`; gRPC
itself is grpclib's (the extra `buildkit`).
"""
