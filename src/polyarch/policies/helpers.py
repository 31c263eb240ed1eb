"""Rules that every policy has, beside its own: names and meaning are docker buildx's."""

from __future__ import annotations

__all__ = ["HELPERS", "HELPERS_NAME"]

HELPERS_NAME = "builtin/helpers.rego"
HELPERS = """package docker

docker_github_builder(image, repo) if {
	image.hasProvenance
	docker_github_builder_signature(image.signatures[_], repo)
}

docker_github_builder_tag(image, repo, tag) if {
	docker_github_builder(image, repo)
	image.signatures[_].signer.sourceRepositoryRef == concat("/", ["refs", "tags", tag])
}

docker_github_builder_signature(signature, repo) if {
	object.subset(signature, {
		"kind": "docker-github-builder",
		"type": "bundle-v0.3",
		"signer": {
			"certificateIssuer": "CN=sigstore-intermediate,O=sigstore.dev",
			"issuer": "https://token.actions.githubusercontent.com",
			"runnerEnvironment": "github-hosted",
			"sourceRepositoryURI": concat("/", ["https://github.com", repo]),
		},
	})
	count(signature.timestamps) != 0
}

docker_github_builder_bundle(http, filename, repo) if {
	docker_github_builder_signature(artifact_attestation(http, filename), repo)
}

github_release_attestation(http) := github_attestation(http, concat("/", [steps[1], steps[2]])) if {
	http.schema == "https"
	lower(http.host) == "github.com"
	steps := split(http.path, "/")
	[steps[3], steps[4]] == ["releases", "download"]
	count(steps) > 6
}
"""
