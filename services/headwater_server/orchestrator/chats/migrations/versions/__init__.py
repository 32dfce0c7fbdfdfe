"""One step a version. Released ones never change."""
