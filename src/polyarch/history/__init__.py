"""Records of builds: what each was asked for, what it printed, and what came of it.

`record` has the values and their form, `status` the events of a build as BuildKit keeps them, `recording` writes
both while a build goes on, `records` finds them again, `bundle` takes them to other machines and back, `attributes`
says what was asked for in BuildKit's words, `naming` what a build is called.
"""
