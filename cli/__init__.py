"""The command lines of Luna: `luna` asks a node or runs a program, `luna-node` is one."""
