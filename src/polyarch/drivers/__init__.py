"""What runs the daemons that are nodes of a builder, by the driver's name: started, looked at, stopped, removed."""
