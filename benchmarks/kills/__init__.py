"""Deaths of the local SageMaker in the middle of tuning jobs of each kind."""
