"""What the library costs: see README.md beside this file."""
