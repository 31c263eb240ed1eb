"""The path of a build, from the text of a Dockerfile to what was asked for; and questions that go a part of it."""
