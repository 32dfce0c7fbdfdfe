"""The answer log: every event of every answer, kept before it is sent."""
