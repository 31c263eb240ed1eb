"""The policy that BUILDX_DEFAULT_POLICY asks for: what is docker's own has to be signed by docker.

It is about tags of four images, from the releases on that are signed; digests and other images pass. What it says is docker
buildx's.
"""

from __future__ import annotations

__all__ = ["DEFAULT"]

DEFAULT = r"""package docker

managed := {
	"docker.io/docker/dockerfile": {
		"repo": "moby/buildkit",
		"floating": {"latest", "labs", "master"},
		"since": [1, 21],
		"tags": "refs/tags/dockerfile/",
	},
	"docker.io/docker/dockerfile-upstream": {
		"repo": "moby/buildkit",
		"floating": {"latest", "labs", "master"},
		"since": [1, 21],
		"tags": "refs/tags/dockerfile/",
	},
	"docker.io/docker/buildkit-syft-scanner": {
		"repo": "docker/buildkit-syft-scanner",
		"floating": {"latest"},
		"since": [1, 10],
		"tags": "refs/tags/",
	},
	"docker.io/moby/buildkit": {
		"repo": "moby/buildkit",
		"floating": {
			"latest", "latest-ubuntu", "rootless",
			"master", "master-rootless", "master-ubuntu",
			"nightly", "nightly-rootless", "nightly-ubuntu",
		},
	},
}

own := managed[input.image.fullRepo]

tag := input.image.tag

is_floating if own.floating[tag]

is_floating if {
	input.image.fullRepo == "docker.io/moby/buildkit"
	regex.match(`^buildx-stable-\d+(-rootless|-gpu)?$`, tag)
}

# A number that isn't given stands for the newest one.
numbers(text) := [to_number(found[1]), minor] if {
	found := regex.find_all_string_submatch_n(`^(\d+)(?:\.(\d+)(?:\.\d+)?)?(?:-labs)?$`, text, 1)[0]
	minor := to_number({"": "999999"}[found[2]])
} else := [to_number(found[1]), to_number(found[2])] if {
	found := regex.find_all_string_submatch_n(`^(\d+)\.(\d+)(?:\.\d+)?(?:-labs)?$`, text, 1)[0]
}

release := regex.find_all_string_submatch_n(`^(v\d+\.\d+\.\d+(?:-rc\d+)?)(?:-rootless|-ubuntu)?$`, tag, 1)[0][1]

is_signed if is_floating

is_signed if numbers(tag) >= own.since

is_signed if {
	not own.since
	part := regex.find_all_string_submatch_n(`^v(\d+)\.(\d+)\.`, release, 1)[0]
	[to_number(part[1]), to_number(part[2])] >= [0, 27]
}

# The signature is that of the release that the tag may stand for.
is_of(signature) if is_floating

is_of(signature) if {
	not own.since
	signature.signer.sourceRepositoryRef == concat("", ["refs/tags/", release])
}

is_of(signature) if {
	startswith(signature.signer.sourceRepositoryRef, own.tags)
	name := trim_prefix(signature.signer.sourceRepositoryRef, own.tags)
	endswith(name, "-labs") == endswith(tag, "-labs")
	is_within(trim_suffix(name, "-labs"), trim_suffix(tag, "-labs"))
}

is_within(name, wanted) if name == wanted

is_within(name, wanted) if {
	regex.match(`^\d+\.\d+$`, wanted)
	numbers(name) == numbers(wanted)
}

is_within(name, wanted) if {
	regex.match(`^\d+$`, wanted)
	numbers(name)[0] == numbers(wanted)[0]
}

is_verified if {
	some signature in input.image.signatures
	docker_github_builder_signature(signature, own.repo)
	is_of(signature)
}

default_policy_deny_msgs contains message if {
	own
	tag != ""
	is_signed
	not is_verified
	message := sprintf(
		"image %s is not allowed by default policy: a verified docker-github-builder signature is required for %s tag",
		[input.image.ref, tag],
	)
}

decision := {
	"allow": count(default_policy_deny_msgs) == 0,
	"deny_msg": [message | some message in default_policy_deny_msgs],
}
"""
