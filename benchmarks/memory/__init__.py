"""Memory of the local SageMaker."""
