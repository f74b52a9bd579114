"""What the gateway costs, measured beside what it is compared with, in the same run: `python -m tests.bench --help`."""
