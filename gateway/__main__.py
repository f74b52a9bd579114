"""`python -m gateway` is `sagemaker-gateway`."""

from gateway.cli import main

if __name__ == "__main__":
    main()
