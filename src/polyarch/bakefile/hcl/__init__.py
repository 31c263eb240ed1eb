"""HCL, the language of bake files: texts -> syntax trees -> values. Nothing here knows what a target is."""
