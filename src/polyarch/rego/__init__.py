"""Rego, the language of policies: text to modules, modules to answers.

`lexer` and `terms`, `bodies`, `modules` read texts; `resolve` and `safety` say what names stand for and in which order
expressions are evaluated; `program` holds the modules of a policy; `evaluate` answers bodies and terms, `documents` what lies below `data`. The version
is v1 alone. Source: Open Policy Agent's "Policy Language" and "Policy Reference".
"""
