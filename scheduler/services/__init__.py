"""What guests use of the world outside: networks, databases, metrics, certificates.

Each module answers the host calls of one subject on trio, while the calling
process is parked; what a process opens are resources of that process.
"""
