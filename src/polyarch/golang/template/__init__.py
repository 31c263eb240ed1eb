"""Go's text/template, as far as `--format` needs it; `template.parse_template` is the entry."""
