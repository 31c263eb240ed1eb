"""What files say of registries: one module for each kind of file, and the values that all of them give."""
