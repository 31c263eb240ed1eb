"""CAs that steps trust beside those of their images, without a trace in a layer."""
