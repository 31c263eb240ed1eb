"""An editor as a debug adapter sees one."""
