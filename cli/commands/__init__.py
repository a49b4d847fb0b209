"""The verbs of `luna`, one module each with its click `command` and its frozen result."""
