"""The driver kubernetes: BuildKit daemons in pods of a cluster, made, found and spoken to as docker buildx does it.

`options` reads what was asked for, `manifest` writes it as objects of Kubernetes, `cluster` asks the API server, by the
files that `settings` finds; `choosing` picks a pod, `carrying` leads to the program in it, and `driver` does all that
for a node. The client library is Kubernetes' own (the extra `kubernetes`).
"""
