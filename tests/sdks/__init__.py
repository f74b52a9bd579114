"""Real AWS SDKs in front of the gateway, unchanged but for the URL."""
