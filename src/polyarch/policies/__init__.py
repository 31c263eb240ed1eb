"""Source policies: what a build may take from outside, said in Rego as docker buildx has it.

`source` and `told` are what is asked about and what is known of it, `inputs` makes the policy's input of both, `policy` decides.
What isn't known yet, and is asked for, is a `Wish`. Source: docker buildx's documentation of build policies.
"""
