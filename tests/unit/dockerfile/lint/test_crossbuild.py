"""Which stages need not be emulated, and what is to be written in their place."""

from __future__ import annotations

import pytest

from polyarch.dockerfile.lint.crossbuild import find_pinnable
from polyarch.dockerfile.lint.linter import Linter
from polyarch.dockerfile.parser import parse
from polyarch.graph.location import SourceText

LAST = "FROM alpine\nCOPY --from=b /out/app /usr/local/bin/app\nRUN apk add ca-certificates"


def stages_of(text: str) -> list[tuple[str, str]]:
    dockerfile = parse(SourceText(name="Dockerfile", text=text))
    return [(stage.name, detail) for stage, detail in find_pinnable(dockerfile.stages)]


def written(text: str) -> list[str]:
    """Return what is to be written in place of the one stage that is found."""
    ((_, detail),) = stages_of(text)
    return [line.removeprefix("    ") for line in detail.splitlines()[1:]]


def test_go() -> None:
    text = f"FROM golang:1.24 AS b\nWORKDIR /src\nCOPY . .\nRUN CGO_ENABLED=0 go build -o /out/app .\n{LAST}"

    ((name, detail),) = stages_of(text)

    assert name == "b"
    assert detail.startswith(
        "stage 'b' is emulated for every platform but this machine's, and need not be: Go compiles for "
        "other platforms natively. Write\n"
    )
    assert written(text) == [
        "FROM --platform=$BUILDPLATFORM golang:1.24 AS b",
        "ARG TARGETOS TARGETARCH",
        "RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -o /out/app .",
    ]


def test_go_that_is_told_its_target_needs_the_first_line_only() -> None:
    step = "RUN --mount=type=cache,target=/go/pkg go mod download && \\\n    GOARCH=$TARGETARCH go build -o /out/app"
    text = f"FROM --platform=$TARGETPLATFORM golang AS b\nARG TARGETOS TARGETARCH\n{step}\n{LAST}"

    assert written(text) == ["FROM --platform=$BUILDPLATFORM golang AS b"]


def test_lines_stay_lines() -> None:
    step = "RUN go mod download && \\\n    go build -o /out/app"

    assert written(f"FROM golang AS b\n{step}\n{LAST}")[2:] == [
        "RUN go mod download && \\",
        "    GOOS=$TARGETOS GOARCH=$TARGETARCH go build -o /out/app",
    ]


def test_rust() -> None:
    text = f"FROM rust AS b\nRUN cargo build --release && cp target/release/app /out/\n{LAST}"

    assert written(text) == [
        "FROM --platform=$BUILDPLATFORM rust AS b",
        "ARG TARGETARCH",
        "RUN case $TARGETARCH in amd64) cpu=x86_64 ;; arm64) cpu=aarch64 ;; *) cpu=$TARGETARCH ;; esac && \\",
        "    rustup target add $cpu-unknown-linux-musl && \\",
        "    RUSTFLAGS=-Clinker=rust-lld cargo build --release --target $cpu-unknown-linux-musl",
    ]


@pytest.mark.parametrize(
    ("base", "step"),
    [
        ("node:22", "npm ci && npm run build"),
        ("node:22", "corepack enable && yarn install --frozen-lockfile; yarn build"),
        ("maven", "mvn -B package"),
        ("gradle", "./gradlew build"),
        ("alpine", "apk add curl && curl -L https://x/y | tar -xz && mv y /out/app"),
        ("alpine", "<<E\nwget https://x/y\nchmod +x y\nE"),
        ("alpine", "if [ -f x ]; then mv x /out/app; else cp y /out/app; fi"),
    ],
)
def test_what_is_the_same_everywhere(base: str, step: str) -> None:
    assert written(f"FROM {base} AS b\nRUN {step}\n{LAST}") == [
        f"FROM --platform=$BUILDPLATFORM {base} AS b"
    ]


@pytest.mark.parametrize(
    "text",
    [
        f"FROM gcc AS b\nRUN make && cp app /out/\n{LAST}",
        f"FROM golang AS b\nRUN go build -o /out/app && ./test.sh\n{LAST}",
        f"FROM golang AS b\nRUN go test ./... && go build -o /out/app\n{LAST}",
        f"FROM golang AS b\nRUN CGO_ENABLED=1 go build -o /out/app\n{LAST}",
        f"FROM golang AS b\nRUN apk add gcc && go build -o /out/app\n{LAST}",
        f"FROM alpine AS b\nRUN wget https://x/app-$(uname -m)\n{LAST}",
        f"FROM alpine AS b\nRUN wget https://x/app-`arch`\n{LAST}",
        f"FROM golang AS b\nRUN go build && mvn package\n{LAST}",
        f"FROM --platform=$BUILDPLATFORM golang AS b\nRUN go build -o /out/app\n{LAST}",
        f"FROM --platform=linux/amd64 golang AS b\nRUN go build -o /out/app\n{LAST}",
        f"FROM alpine AS b\nCOPY x /out/app\n{LAST}",
        "FROM golang\nRUN go build -o /app\n",
        "FROM golang AS b\nRUN go build -o /app\nFROM b\nCMD /app\n",
        "FROM golang AS b\nRUN go build -o /app\nFROM alpine\n",
        "FROM alpine AS b\nRUN apk add jq\nFROM alpine\nCOPY --from=b /usr/bin/jq /usr/bin/\n",
        "FROM alpine AS b\nRUN mkdir x\nFROM alpine\nCOPY --from=b / /\n",
        "FROM node AS b\nRUN npm ci\nFROM node\nCOPY --from=b /app/node_modules /app/node_modules\n",
        "FROM node AS b\nRUN npm ci\nFROM node\nRUN --mount=type=bind,from=b,target=/x ls /x\n",
        "FROM node AS b\nRUN npm ci\nFROM b AS c\nRUN npm x\nFROM x\nCOPY --from=c /out /out\n",
    ],
)
def test_what_is_left_alone(text: str) -> None:
    assert stages_of(text) == []


def findings(text: str, override: str | None = None) -> list[str]:
    lint = Linter(override=override)
    source = SourceText(name="Dockerfile", text=text)
    lint.begin(source)
    lint.stages(parse(source, lint).stages)
    return [each.rule.name for each in lint.findings]


def test_it_is_told_to_those_who_ask_by_name() -> None:
    text = f"FROM golang AS b\nRUN go build -o /out/app\n{LAST}\n"
    asked = "# check=experimental=EmulatedBuildStage\n"

    assert findings(text) == []
    assert findings("# check=experimental=all\n" + text) == []
    assert findings(asked + text) == ["EmulatedBuildStage"]
    assert findings(f"\n{asked}{text}") == ["EmulatedBuildStage"]
    assert findings(text, "experimental=EmulatedBuildStage") == ["EmulatedBuildStage"]
