"""One running node: its wiring, its transport, its control service, its modules."""

import os

# gRPC's own log lines on stderr say nothing that our errors do not; it reads this when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
