"""Tests of what is SageMaker's wire; botocore is the oracle."""
