"""Tests of the settings: what a file means, and what is said of a bad one."""
