"""How emulated steps run: which native twins they get, whether their results are sound, and what it saved.

`steps` has the policy, `sets` finds and makes sets of twins, `worth` weighs what that costs, `scan` looks for what
a foreign run would not have made, and `compare` tells two results of a step apart.
"""
