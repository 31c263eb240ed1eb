"""The functions that policies may use: those of Open Policy Agent that docker buildx lets them have."""
