"""Races between processes: who starts the local SageMaker, and whose job a name is."""
