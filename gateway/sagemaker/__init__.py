"""All that is SageMaker's wire: signatures, credentials, hosts, operations and headers, what a failure means."""
