"""`build`: its flags, what they ask for, and what a build says of itself.

Not called `build`: ruff and pytest pass over directories of that name.
"""
