"""What programs call. It stands above the command line only for its displays."""
