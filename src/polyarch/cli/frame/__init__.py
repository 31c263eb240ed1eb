"""What all commands are made of: flags, the context of a call, the engine, errors, tables, questions."""
