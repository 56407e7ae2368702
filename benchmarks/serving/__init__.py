"""How fast models of the local SageMaker start and predict."""
